#include "app/process.h"

#include <cstdlib>
#include <optional>
#include <thread>

#include "app/options.h"
#include "daemon/open_service.h"
#include "daemon/settings.h"

namespace recalld::app {
namespace {

constexpr std::chrono::milliseconds kAliveTime(5000);
constexpr std::chrono::milliseconds kFinishTime(2000);
constexpr std::chrono::seconds kWriteOutTime(15);
constexpr std::chrono::milliseconds kNoWatchdog = std::chrono::hours(1);

int failed(daemon::Log& log, const Status& status, int code) {
  log.error("main", status.message());
  return code;
}

}  // namespace

Process::Process(daemon::Config config, daemon::ConfigSources sources, const Clock& clock)
    : config_(std::move(config)),
      sources_(std::move(sources)),
      clock_(clock),
      log_(log_options(config_, sources_.environment), clock) {}

Process::~Process() = default;

int Process::run() {
  if (const int code = start(); code != 0) return code;
  serve();
  stop();
  return kExitStopped;
}

int Process::start() {
  if (const Status status = check_config(config_, &keys_); !status.ok()) return failed(log_, status, kExitConfig);
  auto server = api::Server::start(server_options(config_), keys_, clock_, log_);
  if (!server.ok())
    return failed(log_, server.status(),
                  server.status().code() == StatusCode::kInvalidArgument ? kExitConfig : kExitFailed);
  server_ = std::move(*server);
  for (const std::string& address : server_->addresses()) log_.info("server", "listening", {{"address", address}});
  server_->set_starting("the model and the stores are being opened");
  notifier_.status("opening the model and the stores");

  std::optional<Result<std::unique_ptr<daemon::Service>>> opened;
  std::thread opener([&] {
    opened = daemon::open_service(
        service_options(config_), clock_,
        [this](daemon::LogLevel level, const std::string& event) { log_.write(level, "engine", event); });
    signals_.wake();
  });
  while (true) {
    const auto signal = signals_.wait_for(kNoWatchdog);
    if (signal == daemon::Signals::kWake) break;
    if (signal == SIGTERM || signal == SIGINT) {
      log_.info("main", "stopped while starting");
      notifier_.stopping("stopped while starting");
      // Loading cannot be interrupted, and nothing was promised to anyone yet.
      std::_Exit(kExitStopped);
    }
  }
  opener.join();
  if (!opened->ok()) return failed(log_, opened->status(), kExitFailed);
  service_ = std::move(*opened).value();
  server_->open(*service_);
  const daemon::ModelCard model = service_->model();
  log_.info("main", "ready", {{"model", model.id}, {"data_dir", config_.text("memory.data_dir")}});
  notifier_.ready("serving " + model.id);
  return 0;
}

std::chrono::milliseconds Process::tick() const { return notifier_.watchdog_interval().value_or(kNoWatchdog); }

void Process::feed_watchdog() {
  if (!notifier_.watchdog_interval()) return;
  // Only what works is reported: the network's threads answer, and the engine moves.
  if (!server_->alive(kAliveTime)) {
    log_.error("main", "the network threads do not answer; the watchdog is not fed");
    return;
  }
  if (const Status status = service_->ready(); status.code() == StatusCode::kUnavailable) {
    log_.error("main", "the service does not answer; the watchdog is not fed", {{"reason", status.message()}});
    return;
  }
  notifier_.alive();
}

void Process::serve() {
  while (true) {
    const auto signal = signals_.wait_for(tick());
    if (!signal) feed_watchdog();
    if (signal == SIGHUP) reload();
    if (signal == SIGTERM || signal == SIGINT) return;
  }
}

void Process::reload() {
  notifier_.reloading(clock_.monotonic_ns());
  log_.info("main", "reloading");
  auto fresh = daemon::load_config(sources_);
  if (!fresh.ok()) {
    log_.error("main", "the configuration is wrong; the old one stays", {{"reason", fresh.status().message()}});
  } else {
    std::map<std::string, std::string> changed;
    for (const daemon::Setting& setting : daemon::all_settings()) {
      if (fresh->entry(setting.key).value == config_.entry(setting.key).value) continue;
      const bool keys_path = setting.key == "server.api_keys_file";
      if (!setting.reloadable || keys_path) {
        log_.warning("main", "a changed setting needs a restart", {{"setting", setting.key}});
      } else if (const auto* text = std::get_if<std::string>(&fresh->entry(setting.key).value)) {
        changed.emplace(setting.key, *text);
      }
    }
    log_.set_level(daemon::parse_log_level(fresh->text("log.level")));
    service_->reload(changed);
  }
  if (const std::string& file = config_.text("server.api_keys_file"); !file.empty()) {
    if (const Status status = keys_.load(file); !status.ok())
      log_.error("main", "the keys file is wrong; the old keys stay", {{"reason", status.message()}});
  }
  notifier_.ready("serving " + service_->model().id);
}

void Process::stop() {
  const int64_t drain_ms = config_.integer("server.drain_timeout");
  log_.info("main", "stopping: running answers may finish", {{"drain_timeout", daemon::format_duration(drain_ms)}});
  notifier_.stopping("finishing running answers");
  notifier_.extend_timeout(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::milliseconds(drain_ms)) +
                           kWriteOutTime);
  server_->begin_drain();
  std::thread drain([&] {
    service_->drain(drain_ms);
    signals_.wake();
  });
  while (true) {
    const auto signal = signals_.wait_for(tick());
    if (!signal && notifier_.watchdog_interval()) notifier_.alive();
    if (signal == daemon::Signals::kWake) break;
    if (signal == SIGTERM || signal == SIGINT) {
      log_.warning("main", "stopped at once");
      // As safe as a crash: what was acknowledged is on disk.
      std::_Exit(kExitFailed);
    }
  }
  drain.join();
  server_->finish(kFinishTime);
  server_.reset();
  service_.reset();
  log_.info("main", "stopped");
}

}  // namespace recalld::app
