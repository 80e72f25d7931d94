#include "daemon/open_service.h"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <random>

#include "daemon/calibration_texts.h"
#include "daemon/engine_service.h"
#include "episodes/calibration/calibrate.h"
#include "episodes/near_pages.h"
#include "quant/archive.h"
#include "runtime/gguf_encoder.h"

namespace recalld::daemon {
namespace {

Result<std::string> sha256_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot read " + path);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0)
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<size_t>(file.gcount()));
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

Status check_sha256(const ServiceOptions& options) {
  if (options.model_sha256.empty()) return ok_status();
  RECALLD_ASSIGN_OR_RETURN(const std::string found, sha256_of_file(options.model_path));
  if (found == options.model_sha256) return ok_status();
  return corrupt(options.model_path + " has sha256 " + found + ", not " + options.model_sha256 +
                 " as configured: the file is damaged or another one; fetch it again or correct model.sha256");
}

// The calibration that the configured codec needs; null when it needs none.
Result<std::shared_ptr<const quant::Calibration>> find_calibration(const ServiceOptions& options,
                                                                   const runtime::Model& model, const EventLog& log) {
  std::shared_ptr<const quant::Calibration> calibration;
  if (!quant::needs_calibration(options.codec)) return calibration;
  const std::string path =
      options.calibration.empty() ? calibration_path(options.data_dir, model.fingerprint()) : options.calibration;
  auto loaded = episodes::load_calibration(path, model);
  if (loaded.status().code() == StatusCode::kNotFound)
    return failed_precondition("memory.codec " + options.codec + " needs a calibration of the model, and there is no " +
                               path + "; make it with: recallctl calibrate " + options.model_path + " --out " + path);
  if (loaded.ok()) log(LogLevel::kInfo, "calibration " + path);
  return loaded;
}

// How sessions are read by a model with a window of this many tokens. The fingerprint is left to the caller.
Result<episodes::TrunkOptions> trunk_options(const ServiceOptions& options, int32_t window, cache::CodecPlan plan) {
  episodes::TrunkOptions trunk;
  trunk.segments.turns = options.segment_turns;
  trunk.segments.max_tokens = options.segment_tokens;
  trunk.reading = options.reading;
  trunk.block_tokens = options.block_tokens;
  trunk.page_tokens = options.page_tokens;
  trunk.recent_tokens = options.recent_tokens;
  trunk.pinned_tokens = options.pinned_tokens;
  trunk.window_tokens = window;
  trunk.view_tokens =
      options.reading_view_tokens > 0 ? options.reading_view_tokens : window - episodes::longest_block(trunk);
  trunk.plan = std::move(plan);
  trunk.plan.archive = options.archive;
  if (!options.archive.empty()) RECALLD_RETURN_IF_ERROR(quant::archive_options(options.archive).status());
  if (!options.archive.empty() && options.codec != "none16" && !options.codec.ends_with("-4"))
    return invalid_argument("memory.at_rest is " + options.archive + ", which is of no use with memory.codec " +
                            options.codec +
                            ": its pages would bear both errors; set it to exact, or take none16 or a codec of 4 bits");
  RECALLD_RETURN_IF_ERROR(episodes::set_near_pages(
      episodes::near_pages(options.codec, options.near_codec, options.near_tokens, options.recent_tokens), &trunk));
  RECALLD_RETURN_IF_ERROR(episodes::check_trunk_options(trunk));
  return trunk;
}

}  // namespace

Result<std::unique_ptr<Service>> open_service(const ServiceOptions& options, const Clock& clock, EventLog log) {
  RECALLD_RETURN_IF_ERROR(check_sha256(options));
  log(LogLevel::kInfo, "loading model " + options.model_path);
  runtime::ModelOptions model_options;
  model_options.path = options.model_path;
  model_options.file.threads = options.threads;
  RECALLD_ASSIGN_OR_RETURN(const auto model, runtime::Model::load(model_options));
  runtime::EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.context = options.context;
  RECALLD_ASSIGN_OR_RETURN(auto engine, runtime::Engine::create(model, engine_options));
  RECALLD_ASSIGN_OR_RETURN(const auto calibration, find_calibration(options, *model, log));
  cache::CodecPlan plan;
  RECALLD_ASSIGN_OR_RETURN(plan.layers,
                           quant::make_codecs(options.codec, model->cache_shape().layers.size(), calibration.get()));
  auto trunk = trunk_options(options, engine->context(), std::move(plan));
  if (!trunk.ok()) return trunk.status().with_context("memory settings");
  if (engine->context() < options.answer_reserve_tokens + 2 * options.block_tokens)
    return invalid_argument("the window of " + std::to_string(engine->context()) +
                            " tokens is too small for memory.answer_reserve_tokens (" +
                            std::to_string(options.answer_reserve_tokens) + ") and two blocks");

  std::unique_ptr<runtime::TextEncoder> encoder;
  if (options.encoder_path.empty()) {
    log(LogLevel::kWarning,
        "no text encoder (memory.encoder): segments are found by their words and by the model's own states, which are "
        "worse than an embedding model's");
  } else {
    auto opened = runtime::open_gguf_encoder(options.encoder_path, options.threads);
    if (!opened.ok()) return opened.status().with_context("memory.encoder");
    encoder = std::move(opened).value();
    log(LogLevel::kInfo, "text encoder " + encoder->name() + " from " + options.encoder_path);
  }

  RECALLD_ASSIGN_OR_RETURN(auto stores, storage::Stores::open(options.data_dir, clock));
  for (const std::string& note : stores->notes()) log(LogLevel::kWarning, note);
  if (options.disk_bytes > 0) RECALLD_RETURN_IF_ERROR(stores->kv().set_max_bytes(options.disk_bytes));
  auto random = [device = std::make_shared<std::random_device>()]() -> uint64_t {
    return (static_cast<uint64_t>((*device)()) << 32) | (*device)();
  };
  auto service = std::make_unique<EngineService>(options, clock, log, model, std::move(engine), std::move(encoder),
                                                 std::move(stores), std::move(trunk).value(), std::move(random));
  RECALLD_RETURN_IF_ERROR(service->resume());
  return std::unique_ptr<Service>(std::move(service));
}

}  // namespace recalld::daemon
