// The program itself: exit codes, what it prints, and its life under a service manager, on the test model.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace recalld {
namespace {

using ::testing::HasSubstr;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class Program : public ::testing::Test {
 protected:
  Program() {
    std::string pattern = ::testing::TempDir() + "recalld-program-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Program() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    if (notify_ >= 0) ::close(notify_);
    std::filesystem::remove_all(folder_);
  }

  // Starts recalld with its output in a file; environment as NAME=VALUE on top of a bare one.
  void spawn(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), variable("RECALLD_BUILD_DIR") + "/app/recalld");
    environment.push_back("HOME=" + folder_);
    environment.push_back("PATH=/usr/bin:/bin");
    for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH"})
      if (!variable(name).empty()) environment.push_back(std::string(name) + "=" + variable(name));
    std::vector<char*> argv, envp;
    for (std::string& one : arguments) argv.push_back(one.data());
    for (std::string& one : environment) envp.push_back(one.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    const std::string output = folder_ + "/output";
    pid_ = ::fork();
    if (pid_ == 0) {
      const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
  }

  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  int run(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    spawn(std::move(arguments), std::move(environment));
    return wait();
  }

  std::string output() const {
    std::ostringstream text;
    text << std::ifstream(folder_ + "/output").rdbuf();
    return text.str();
  }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
    std::filesystem::permissions(folder_ + "/" + name,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return folder_ + "/" + name;
  }

  // A socket in the place of the service manager's.
  std::string listen_for_notifications() {
    const std::string path = folder_ + "/notify";
    notify_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ::bind(notify_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    return "NOTIFY_SOCKET=" + path;
  }

  // Notifications until one holds `text`; false after a minute without.
  bool notified(const std::string& text) {
    pollfd one{notify_, POLLIN, 0};
    while (::poll(&one, 1, 60'000) > 0) {
      char message[4096];
      const ssize_t size = ::recv(notify_, message, sizeof message, 0);
      if (size > 0 && std::string(message, static_cast<size_t>(size)).find(text) != std::string::npos) return true;
    }
    return false;
  }

  std::vector<std::string> daemon_flags() {
    return {"--model",    variable("RECALLD_TEST_MODEL"), "--data-dir", folder_ + "/data", "--listen", "127.0.0.1:0",
            "--threads=1"};
  }

  std::string folder_;
  pid_t pid_ = -1;
  int notify_ = -1;
};

TEST_F(Program, ConfigurationErrorsExitWith78) {
  EXPECT_EQ(run({"--nonsense"}), 78);
  EXPECT_EQ(run({"--config", folder_ + "/missing.toml"}), 78);
  EXPECT_THAT(output(), HasSubstr("missing.toml"));
  EXPECT_EQ(run({}), 78);
  EXPECT_THAT(output(), HasSubstr("model.path is not set"));
  EXPECT_EQ(run({"--check-config", "--model=m.gguf", "--memory.codec=zip"}), 78);
  EXPECT_THAT(output(), HasSubstr("memory.codec"));
  EXPECT_EQ(run({"--check-config", "--model=m.gguf", "--listen=0.0.0.0:1"}), 78);
  EXPECT_THAT(output(), HasSubstr("server.api_keys_file"));
  EXPECT_EQ(run({"--check-config", "--model=m.gguf", "--model.sha256=xyz"}), 78);
}

TEST_F(Program, CheckAndPrintStartNothing) {
  EXPECT_EQ(run({"--check-config", "--model=m.gguf"}), 0);
  EXPECT_EQ(run({"--print-config"}, {"RECALLD_LOG_LEVEL=debug"}), 0);
  EXPECT_THAT(output(), HasSubstr("level = \"debug\"  # RECALLD_LOG_LEVEL"));
  EXPECT_THAT(output(), HasSubstr("data_dir = \"" + folder_ + "/.local/share/recalld\""));
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_THAT(output(), HasSubstr("recalld 0."));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/.local"));
}

TEST_F(Program, DocumentationOfSettingsIsNotOutOfDate) {
  ASSERT_EQ(run({"--print-settings-doc"}), 0);
  std::ostringstream file;
  file << std::ifstream(variable("RECALLD_SOURCE_DIR") + "/docs/configuration.md").rdbuf();
  EXPECT_EQ(output(), file.str()) << "run: recalld --print-settings-doc > docs/configuration.md";
}

TEST_F(Program, ShippedExampleIsValid) {
  EXPECT_EQ(run({"--check-config", "--config", variable("RECALLD_SOURCE_DIR") + "/systemd/recalld.toml"}), 0)
      << output();
}

TEST_F(Program, MissingModelExitsWith1) {
  EXPECT_EQ(run({"--model", folder_ + "/none.gguf", "--data-dir", folder_ + "/data", "--listen=127.0.0.1:0"}), 1);
  EXPECT_THAT(output(), HasSubstr("none.gguf"));
}

TEST_F(Program, LifeUnderAServiceManager) {
  const std::string keys = write("keys", "ada one\n");
  const std::string config = write("config.toml", "[log]\nlevel = \"info\"\n");
  std::vector<std::string> flags = daemon_flags();
  flags.insert(flags.end(), {"--config", config, "--server.api_keys_file", keys});
  const std::string socket = listen_for_notifications();
  spawn(flags, {socket, "WATCHDOG_USEC=400000"});
  ASSERT_TRUE(notified("READY=1")) << output();
  EXPECT_TRUE(notified("WATCHDOG=1")) << output();

  write("config.toml", "[log]\nlevel = \"debug\"\n[server]\nmax_connections = 5\n");
  ::kill(pid_, SIGHUP);
  EXPECT_TRUE(notified("RELOADING=1"));
  EXPECT_TRUE(notified("READY=1"));
  EXPECT_THAT(output(), HasSubstr("a changed setting needs a restart setting=server.max_connections"));

  write("config.toml", "[log]\nlevel = \"shout\"\n");
  write("keys", "broken\n");
  ::kill(pid_, SIGHUP);
  EXPECT_TRUE(notified("READY=1"));
  EXPECT_THAT(output(), HasSubstr("the old one stays"));
  EXPECT_THAT(output(), HasSubstr("the old keys stay"));

  ::kill(pid_, SIGTERM);
  EXPECT_TRUE(notified("STOPPING=1"));
  EXPECT_EQ(wait(), 0) << output();
}

TEST_F(Program, PortTakenExitsWith1AndNamesIt) {
  const std::string socket = listen_for_notifications();
  spawn(daemon_flags(), {socket});
  ASSERT_TRUE(notified("READY=1")) << output();
  const std::string log = output();
  const size_t at = log.find("address=") + 8;
  const std::string address = log.substr(at, log.find('\n', at) - at);
  const pid_t first = pid_;
  EXPECT_EQ(run({"--model=m.gguf", "--data-dir", folder_ + "/other", "--listen", address}), 1);
  EXPECT_THAT(output(), HasSubstr("cannot listen on " + address));
  pid_ = first;
  ::kill(pid_, SIGINT);
  EXPECT_EQ(wait(), 0);
}

TEST_F(Program, SignalWhileStartingStops) {
  spawn(daemon_flags());
  while (output().find("listening") == std::string::npos) ::usleep(2000);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(wait(), 0) << output();
}

}  // namespace
}  // namespace recalld
