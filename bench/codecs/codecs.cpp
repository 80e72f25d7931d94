// The codecs next to libllama's own caches: size, what they do to predictions, and time.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "bench/codecs/kernel_times.h"
#include "bench/codecs/quality.h"
#include "bench/codecs/references.h"
#include "bench/report.h"
#include "daemon/calibration_texts.h"
#include "episodes/calibration/calibrate.h"
#include "quant/codec.h"
#include "runtime/engine.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {
namespace {

struct Settings {
  QualitySettings quality;
  KernelShape kernels;
  std::string text = "data/sample_prose.txt";
  // What calibrated codecs and Palu's bases are made from, when no file of a calibration is given: never the text that
  // is read.
  std::string calibration;
  std::vector<std::string> calibration_texts = {"data/sample_conversation.ndjson", "data/sample_mixed.txt"};
  int tokens = 4048;
  std::vector<std::string> codecs = {"none16",          "turboquant-4",    "turboquant-4-plain",
                                     "turboquant-k4v3", "turboquant-k4v2", "turboquant-3",
                                     "turboquant-k3v2", "turboquant-2",    "turboquant-3.5",
                                     "turboquant-2.5",  "calibrated-4",    "calibrated-3",
                                     "calibrated-2.5",  "calibrated-2",    "oscar-2",
                                     "kivi-4",          "kivi-2",          "gear-4",
                                     "gear-2",          "palu-30",         "palu-50",
                                     "palu-50-4",       "kvmerger-50"};
  std::string suffix;  // of figure names
  bool no_quality = false, no_times = false;
};

// "turboquant-k4v3-plain" is tq_k4v3_plain in figure names, "turboquant-4" tq4, "palu-50-4" palu50_4.
std::string figure_name(const std::string& codec) {
  const std::string prefix = "turboquant-", calibrated = "calibrated-";
  if (codec.starts_with(calibrated) || !codec.starts_with(prefix)) {
    std::string name = codec.starts_with(calibrated) ? "cal" + codec.substr(calibrated.size()) : codec;
    if (const size_t dash = name.find('-'); dash != std::string::npos) name.erase(dash, 1);
    for (const char separator : {'-', '.'}) std::ranges::replace(name, separator, '_');
    return name;
  }
  std::string rest = codec.substr(prefix.size());
  for (const char separator : {'-', '.'}) std::ranges::replace(rest, separator, '_');
  return (rest.starts_with('k') ? "tq_" : "tq") + rest;
}

std::vector<int32_t> read_tokens(const runtime::Tokenizer& tokenizer, const std::string& path) {
  const auto text = daemon::read_calibration_text(path);
  if (!text.ok()) throw std::runtime_error(text.status().message());
  std::vector<int32_t> tokens = tokenizer.prompt_start();
  const std::vector<int32_t> body = tokenizer.tokenize(*text);
  tokens.insert(tokens.end(), body.begin(), body.end());
  return tokens;
}

std::vector<std::vector<int32_t>> read_calibration_texts(const runtime::Tokenizer& tokenizer,
                                                         const Settings& settings) {
  std::vector<std::vector<int32_t>> texts;
  for (const std::string& path : settings.calibration_texts) texts.push_back(read_tokens(tokenizer, path));
  return texts;
}

// Empty when no codec needs them.
std::optional<PaluBases> palu_bases_of(const std::shared_ptr<const runtime::Model>& model,
                                       const runtime::Tokenizer& tokenizer, const Settings& settings) {
  if (std::ranges::none_of(settings.codecs, needs_palu_bases)) return std::nullopt;
  auto engine = runtime::Engine::create(model, {});
  if (!engine.ok()) throw std::runtime_error(engine.status().message());
  auto bases = measure_palu_bases(**engine, read_calibration_texts(tokenizer, settings),
                                  [](size_t read) { std::fprintf(stderr, "\rmeasuring bases: %zu tokens", read); });
  std::fputc('\n', stderr);
  if (!bases.ok()) throw std::runtime_error(bases.status().message());
  return std::move(bases).value();
}

// Null when no codec needs one.
std::shared_ptr<const quant::Calibration> calibration_of(const std::shared_ptr<const runtime::Model>& model,
                                                         const runtime::Tokenizer& tokenizer,
                                                         const Settings& settings) {
  if (std::ranges::none_of(settings.codecs, [](const auto& name) { return quant::needs_calibration(name); }))
    return nullptr;
  Result<std::shared_ptr<const quant::Calibration>> calibration = not_found("");
  if (!settings.calibration.empty() && std::filesystem::exists(settings.calibration)) {
    calibration = episodes::load_calibration(settings.calibration, *model);
  } else {
    auto engine = runtime::Engine::create(model, {});
    if (!engine.ok()) throw std::runtime_error(engine.status().message());
    const std::vector<std::vector<int32_t>> texts = read_calibration_texts(tokenizer, settings);
    std::string names;
    for (const std::string& path : settings.calibration_texts) names += (names.empty() ? "" : ", ") + path;
    calibration = episodes::calibrate(**engine, texts, names, {}, [](double done, const std::string& doing) {
      std::fprintf(stderr, "\rcalibrating: %3.0f %% %-24s", 100 * done, doing.c_str());
    });
    std::fputc('\n', stderr);
    if (calibration.ok() && !settings.calibration.empty()) {
      const Status saved = quant::save_calibration(**calibration, settings.calibration);
      if (!saved.ok()) throw std::runtime_error(saved.message());
    }
  }
  if (!calibration.ok()) throw std::runtime_error(calibration.status().message());
  return *calibration;
}

std::vector<int32_t> tokens_of(const runtime::Model& model, const runtime::Tokenizer& tokenizer,
                               const Settings& settings) {
  std::vector<int32_t> tokens = read_tokens(tokenizer, settings.text);
  const size_t limit = std::min<size_t>(settings.tokens > 0 ? static_cast<size_t>(settings.tokens) : tokens.size(),
                                        static_cast<size_t>(model.info().n_ctx_train));
  if (tokens.size() > limit) tokens.resize(limit);
  if (tokens.size() < 2) throw std::runtime_error(settings.text + " has fewer than two tokens");
  return tokens;
}

void add_quality(const Settings& settings, Report& report) {
  runtime::ModelOptions options;
  options.path = settings.quality.model;
  auto model = runtime::Model::load(options);
  if (!model.ok()) throw std::runtime_error(model.status().to_string());
  const runtime::Tokenizer tokenizer(*model);
  const std::vector<int32_t> tokens = tokens_of(**model, tokenizer, settings);
  report.add("tokens", static_cast<double>(tokens.size()), "tokens");
  const auto calibration = calibration_of(*model, tokenizer, settings);
  const std::optional<PaluBases> palu = palu_bases_of(*model, tokenizer, settings);
  const Measured measured{calibration.get(), palu ? &*palu : nullptr};
  for (const Quality& quality : measure_quality(settings.quality, *model, tokens, settings.codecs, measured)) {
    const std::string name = figure_name(quality.name) + settings.suffix;
    report.add("bits_" + name, quality.bits, "bits/number");
    report.add("bits_reading_" + name, quality.bits_reading, "bits/number");
    report.add("ppl_" + name, quality.perplexity, "perplexity");
    report.add("kl_" + name, quality.kl, "nats", "libllama f16");
    report.add("top1_" + name, quality.top1, "share", "libllama f16");
  }
}

void run(const Settings& settings) {
  const std::filesystem::path model(settings.no_quality ? "" : settings.quality.model);
  Report report("codecs", model.filename().string());
  if (!settings.no_quality) add_quality(settings, report);
  // Kernels run on codecs that are the same for every model; the others differ in bands and maps alone.
  std::vector<std::string> timed;
  for (const std::string& name : settings.codecs)
    if (quant::make_codec(name).ok()) timed.push_back(name);
  for (const KernelTimes& times :
       settings.no_times ? std::vector<KernelTimes>() : measure_kernels(settings.kernels, timed)) {
    const std::string name = figure_name(times.name);
    report.add("encode_ns_" + name, times.encode_ns, "ns/vector");
    report.add("attend_ns_" + name, times.attend_ns, "ns/key");
  }
  if (report.finish() != 0) throw std::runtime_error("the figures could not be written");
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  recalld::bench::Settings settings;
  if (const char* model = std::getenv("RECALLD_MODEL"); model != nullptr) settings.quality.model = model;
  CLI::App app("Codecs against libllama's f16, q8_0 and q4_0 caches: bits, perplexity, KL, time");
  app.add_option("--model", settings.quality.model, "GGUF, or gemma3 for RECALLD_GEMMA_MODEL (default: RECALLD_MODEL)");
  app.add_option("--text", settings.text, "text that is read");
  app.add_option("--tokens", settings.tokens, "tokens of it, 0 for all that fit the model's window");
  app.add_option("--codecs", settings.codecs, "names of our codecs")->delimiter(',');
  app.add_option("--threads", settings.quality.threads, "threads of both sides, where a model runs");
  app.add_option("--block", settings.quality.block, "tokens read at once");
  app.add_option("--page", settings.quality.page_tokens, "tokens of a page");
  app.add_option("--pinned", settings.quality.pinned, "first tokens kept in 16 bits");
  app.add_option("--recent", settings.quality.recent, "newest tokens kept in 16 bits");
  app.add_option("--head-dim", settings.kernels.head_dim, "head_dim of the timed kernels");
  app.add_option("--repeats", settings.kernels.repeats, "repetitions of the timed kernels");
  app.add_option("--calibration", settings.calibration,
                 "calibration of the model, for codecs that need one; made and put there when there is none");
  app.add_option("--calibration-text", settings.calibration_texts, "what to make one from otherwise: not --text")
      ->delimiter(',');
  app.add_flag("--no-times", settings.no_times, "quality only");
  app.add_flag("--no-quality", settings.no_quality, "times only; needs no model");
  CLI11_PARSE(app, argc, argv);
  if (settings.quality.model == "gemma3") {
    const char* gemma = std::getenv("RECALLD_GEMMA_MODEL");
    settings.quality.model = gemma != nullptr ? gemma : "";
    settings.suffix = "_gemma3";
  }
  for (const std::string& name : settings.codecs)
    if (!recalld::bench::is_codec(name)) {
      std::fprintf(stderr, "error: no codec is named '%s'\n", name.c_str());
      return 2;
    }
  settings.kernels.page_tokens = settings.quality.page_tokens;
  try {
    recalld::bench::run(settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
