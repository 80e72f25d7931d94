// Keys, Host and Origin, the unix socket.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "api/guard.h"
#include "tests/api/api_fixture.h"

namespace recalld::api {
namespace {

using ::testing::HasSubstr;

class AccessTest : public ApiTest {
 protected:
  AccessTest() {
    std::string pattern = ::testing::TempDir() + "recalld-access-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~AccessTest() override {
    stop();
    std::filesystem::remove_all(folder_);
  }

  std::string keys_file(const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_ + "/keys";
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  static std::string bearer(const std::string& key) { return "Authorization: Bearer " + key + "\r\n"; }

  std::string folder_;
};

// sha256 of "secret-b"
constexpr auto kKeys =
    "# people\nada secret-a\n\n"
    "bob sha256:6c719c62b7dd5a5dd6a11ae9b74b38b75f1c2f36a8b57a6b0d6ac7c6c5d1c0d5\n"
    "ops secret-o admin\n";

TEST_F(AccessTest, KeysAreRequiredAndNameThePrincipal) {
  ASSERT_TRUE(keys_.load(keys_file(kKeys)).ok());
  start();
  EXPECT_EQ(ask("GET", "/health").status, 200);
  EXPECT_EQ(ask("GET", "/ready").status, 200);
  const RawResponse none = ask("GET", "/v1/models");
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(field(none, "type"), "authentication_error");
  EXPECT_EQ(ask("GET", "/metrics").status, 401);
  EXPECT_EQ(ask("GET", "/v1/models", "", bearer("secret")).status, 401);
  EXPECT_EQ(ask("GET", "/v1/models", "", bearer("secret-a ")).status, 200);
  EXPECT_EQ(ask("GET", "/v1/models", "", "authorization: bearer secret-a\r\n").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models", "", "X-API-Key: secret-a\r\n").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models", "", "Authorization: Basic secret-a\r\n").status, 401);
}

TEST_F(AccessTest, SessionsOfOnePrincipalDoNotExistForAnother) {
  ASSERT_TRUE(keys_.load(keys_file(kKeys)).ok());
  start();
  const RawResponse made = ask("POST", "/v1/sessions", "{}", bearer("secret-a"));
  const std::string path = made.headers.at("location");
  EXPECT_EQ(ask("GET", path, "", bearer("secret-a")).status, 200);
  EXPECT_EQ(field(ask("GET", path, "", bearer("secret-o")), "code"), "session_not_found");
}

TEST_F(AccessTest, AdministrationNeedsAnAdminKey) {
  ASSERT_TRUE(keys_.load(keys_file(kKeys)).ok());
  start();
  EXPECT_EQ(ask("POST", "/v1/admin/verify", "", bearer("secret-a")).status, 403);
  EXPECT_EQ(ask("POST", "/v1/admin/verify", "", bearer("secret-o")).status, 200);
}

TEST_F(AccessTest, KeyMayBeKeptAsADigest) {
  std::string hex;
  for (const unsigned char byte : sha256("secret-b")) {
    char two[3];
    std::snprintf(two, sizeof two, "%02X", byte);
    hex += two;
  }
  ASSERT_TRUE(keys_.load(keys_file("bob sha256:" + hex + "\n")).ok());
  EXPECT_EQ(keys_.find("secret-b")->principal, "bob");
  EXPECT_FALSE(keys_.find("sha256:" + hex).has_value());
  EXPECT_FALSE(keys_.find("").has_value());
}

TEST_F(AccessTest, SystemKnownDigest) {
  // NIST's example for "abc".
  ASSERT_TRUE(
      keys_.load(keys_file("n sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n")).ok());
  EXPECT_TRUE(keys_.find("abc").has_value());
}

TEST_F(AccessTest, WrongKeysFilesAreNamedAndChangeNothing) {
  ASSERT_TRUE(keys_.load(keys_file("ada secret-a\n")).ok());
  EXPECT_THAT(keys_.load(folder_ + "/missing").message(), HasSubstr("missing"));
  EXPECT_THAT(keys_.load(keys_file("bob x\n", 0644)).message(), HasSubstr("chmod o="));
  EXPECT_THAT(keys_.load(keys_file("bob\n")).message(), HasSubstr("keys:1"));
  EXPECT_THAT(keys_.load(keys_file("ada a\nbob b root\n")).message(), HasSubstr("keys:2"));
  EXPECT_THAT(keys_.load(keys_file("ada a\n\nbob sha256:12\n")).message(), HasSubstr("keys:3"));
  EXPECT_THAT(keys_.load(keys_file("ada a\nbob a\n")).message(), HasSubstr("twice"));
  EXPECT_THAT(keys_.load(keys_file("# none\n")).message(), HasSubstr("no keys"));
  EXPECT_TRUE(keys_.find("secret-a").has_value());
}

TEST_F(AccessTest, ReloadedKeysHoldAtOnce) {
  ASSERT_TRUE(keys_.load(keys_file("ada old-key\n")).ok());
  start();
  EXPECT_EQ(ask("GET", "/v1/models", "", bearer("old-key")).status, 200);
  ASSERT_TRUE(keys_.load(keys_file("ada new-key\n")).ok());
  EXPECT_EQ(ask("GET", "/v1/models", "", bearer("old-key")).status, 401);
  EXPECT_EQ(ask("GET", "/v1/models", "", bearer("new-key")).status, 200);
}

TEST_F(AccessTest, ForeignHostsAreRefusedOnLoopback) {
  options_.allowed_hosts = {"Memory.Example"};
  start();
  const auto with_host = [&](const std::string& host) {
    RawClient client(address());
    client.send("GET /v1/models HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.response().status;
  };
  for (const char* host :
       {"localhost", "LOCALHOST:80", "127.0.0.1:8642", "127.1.2.3", "[::1]:8642", "memory.example:443"})
    EXPECT_EQ(with_host(host), 200) << host;
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"})
    EXPECT_EQ(with_host(host), 403) << host;
}

TEST_F(AccessTest, ForeignOriginsAreRefused) {
  options_.allowed_origins = {"https://chat.example"};
  start();
  EXPECT_EQ(ask("POST", "/v1/sessions", "{}", "Origin: https://evil.example\r\n").status, 403);
  EXPECT_EQ(ask("POST", "/v1/sessions", "{}", "Origin: null\r\n").status, 403);
  EXPECT_EQ(ask("POST", "/v1/sessions", "{}", "Origin: http://localhost\r\n").status, 201);
  const RawResponse allowed = ask("POST", "/v1/sessions", "{}", "Origin: https://chat.example\r\n");
  EXPECT_EQ(allowed.status, 201);
  EXPECT_EQ(allowed.headers.at("access-control-allow-origin"), "https://chat.example");
  const RawResponse preflight =
      ask("OPTIONS", "/v1/sessions", "", "Origin: https://chat.example\r\nAccess-Control-Request-Method: POST\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_THAT(preflight.headers.at("access-control-allow-methods"), HasSubstr("POST"));
}

TEST_F(AccessTest, UnixSocketTrustsItsFileMode) {
  ASSERT_TRUE(keys_.load(keys_file(kKeys)).ok());
  options_.unix_socket = folder_ + "/recalld.sock";
  start();
  struct stat info {};
  ASSERT_EQ(::stat(options_.unix_socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660U);
  const auto over_unix = [&](const std::string& more) {
    RawClient client("unix:" + options_.unix_socket);
    client.send(request_text("POST", "/v1/admin/verify", "", more));
    return client.response().status;
  };
  EXPECT_EQ(over_unix(""), 200);
  EXPECT_EQ(over_unix(bearer("secret-a")), 403);
  EXPECT_EQ(over_unix(bearer("nonsense")), 401);
  EXPECT_EQ(over_unix("Host: anything\r\n"), 400) << "two Host headers";
  stop();
  EXPECT_NE(::stat(options_.unix_socket.c_str(), &info), 0) << "the socket is removed at the end";
}

TEST_F(AccessTest, StaleSocketIsReplacedALiveOneIsNot) {
  options_.unix_socket = folder_ + "/recalld.sock";
  start();
  auto second = Server::start(options_, keys_, clock_, log_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr("another program listens"));
  EXPECT_EQ(RawClient("unix:" + options_.unix_socket).connected(), true);

  // What a killed daemon leaves behind.
  const std::string stale = folder_ + "/stale.sock";
  ServerOptions options = options_;
  options.unix_socket = stale;
  {
    auto first = Server::start(options, keys_, clock_, log_);
    ASSERT_TRUE(first.ok());
    std::filesystem::rename(stale, folder_ + "/kept.sock");
  }
  std::filesystem::rename(folder_ + "/kept.sock", stale);
  auto again = Server::start(options, keys_, clock_, log_);
  EXPECT_TRUE(again.ok()) << again.status().to_string();

  options.unix_socket = keys_file("x");
  EXPECT_THAT(Server::start(options, keys_, clock_, log_).status().message(), HasSubstr("is not a socket"));
}

TEST(Guard, HostsAndOrigins) {
  EXPECT_EQ(host_of("LocalHost:80"), "localhost");
  EXPECT_EQ(host_of("[::1]:80"), "[::1]");
  EXPECT_EQ(host_of("example.org."), "example.org");
  EXPECT_TRUE(is_loopback("127.8.9.10"));
  EXPECT_TRUE(is_loopback("[::1]"));
  EXPECT_FALSE(is_loopback("0.0.0.0"));
  EXPECT_FALSE(is_loopback("[::]"));
  EXPECT_FALSE(is_loopback(""));
  EXPECT_TRUE(origin_allowed("", "localhost:1", {}));
  EXPECT_TRUE(origin_allowed("http://localhost:1", "localhost:1", {}));
  EXPECT_FALSE(origin_allowed("http://localhost:2", "localhost:1", {}));
  EXPECT_FALSE(origin_allowed("localhost:1", "localhost:1", {}));
}

}  // namespace
}  // namespace recalld::api
