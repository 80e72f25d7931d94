#include "app/options.h"

#include <algorithm>
#include <random>
#include <thread>

#include "quant/codec.h"

namespace recalld::app {
namespace {

int32_t threads_of(const daemon::Config& config) {
  const auto set = static_cast<int32_t>(config.integer("model.threads"));
  if (set > 0) return set;
  return std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()) - 1);
}

}  // namespace

daemon::ServiceOptions service_options(const daemon::Config& config) {
  const auto number = [&](std::string_view key) { return static_cast<int32_t>(config.integer(key)); };
  daemon::ServiceOptions options;
  options.model_path = config.text("model.path");
  options.model_sha256 = config.text("model.sha256");
  options.threads = threads_of(config);
  options.context = number("model.context");
  options.encoder_path = config.text("memory.encoder");
  options.data_dir = config.text("memory.data_dir");
  options.codec = config.text("memory.codec");
  options.near_codec = config.text("memory.near_codec");
  options.near_tokens = number("memory.near_tokens");
  if (const std::string at_rest = config.text("memory.at_rest"); at_rest != "exact") options.archive = at_rest;
  options.calibration = config.text("memory.calibration");
  options.block_tokens = number("memory.block_tokens");
  options.page_tokens = number("memory.page_tokens");
  options.recent_tokens = number("memory.recent_tokens");
  options.pinned_tokens = number("memory.pinned_tokens");
  options.segment_turns = number("memory.segment_turns");
  options.segment_tokens = number("memory.segment_tokens");
  options.reading = episodes::parse_reading_policy(config.text("memory.reading")).value_or(options.reading);
  options.reading_view_tokens = number("memory.reading_view_tokens");
  options.recall_tokens = number("memory.recall_tokens");
  options.view_order = retrieval::parse_view_order(config.text("memory.view_order")).value_or(options.view_order);
  options.view_tokens = number("memory.view_tokens");
  options.answer_reserve_tokens = number("memory.answer_reserve_tokens");
  options.catch_up_tokens = number("memory.catch_up_tokens");
  options.ram_bytes = config.integer("memory.ram_bytes");
  options.disk_bytes = config.integer("memory.disk_bytes");
  options.max_queued = number("server.max_queued_requests");
  options.max_active = number("server.max_active_answers");
  return options;
}

api::ServerOptions server_options(const daemon::Config& config) {
  const auto bytes = [&](std::string_view key) { return static_cast<size_t>(config.integer(key)); };
  const auto time = [&](std::string_view key) { return std::chrono::milliseconds(config.integer(key)); };
  api::ServerOptions options;
  options.listen = config.list("server.listen");
  options.unix_socket = config.text("server.unix_socket");
  options.allowed_hosts = config.list("server.allowed_hosts");
  options.allowed_origins = config.list("server.allowed_origins");
  options.io_threads = static_cast<int>(config.integer("server.io_threads"));
  options.max_body_bytes = bytes("server.max_body_bytes");
  options.max_header_bytes = bytes("server.max_header_bytes");
  options.max_stream_buffer_bytes = bytes("server.max_stream_buffer_bytes");
  options.ws_max_buffer_bytes = bytes("server.ws_max_buffer_bytes");
  options.max_connections = config.integer("server.max_connections");
  options.max_queued_requests = config.integer("server.max_queued_requests");
  options.header_timeout = time("server.header_timeout");
  options.body_timeout = time("server.body_timeout");
  options.idle_timeout = time("server.idle_timeout");
  options.write_timeout = time("server.write_timeout");
  options.keepalive_interval = time("server.keepalive_interval");
  options.ws_ping_interval = time("server.ws_ping_interval");
  options.random = [device = std::make_shared<std::random_device>()]() -> uint64_t {
    return (static_cast<uint64_t>((*device)()) << 32) | (*device)();
  };
  return options;
}

daemon::LogOptions log_options(const daemon::Config& config, const std::map<std::string, std::string>& environment) {
  daemon::LogOptions options;
  options.level = daemon::parse_log_level(config.text("log.level"));
  options.format = config.text("log.format") == "json" ? daemon::LogFormat::kJson : daemon::LogFormat::kText;
  const auto stream = environment.find("JOURNAL_STREAM");
  options.journal = stream != environment.end() && daemon::stderr_is_journal(stream->second);
  return options;
}

Status check_config(const daemon::Config& config, api::KeyRing* keys) {
  if (config.text("model.path").empty())
    return invalid_argument("model.path is not set; give the GGUF file to run: --model FILE");
  const std::string& sha256 = config.text("model.sha256");
  const bool hex = std::ranges::all_of(sha256, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (!sha256.empty() && (sha256.size() != 64 || !hex))
    return invalid_argument("model.sha256 must be 64 lower-case hexadecimal digits");
  RECALLD_RETURN_IF_ERROR(quant::check_codec_name(config.text("memory.codec")).with_context("memory.codec"));
  if (const std::string& file = config.text("server.api_keys_file"); !file.empty())
    RECALLD_RETURN_IF_ERROR(keys->load(file).with_context("server.api_keys_file"));
  return api::check_listen(config.list("server.listen"), keys->required());
}

}  // namespace recalld::app
