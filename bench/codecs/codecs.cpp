// The codecs next to libllama's own caches: size, what they do to predictions, and time.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "bench/codecs/chart.h"
#include "bench/codecs/kernel_times.h"
#include "bench/codecs/quality.h"
#include "bench/codecs/references.h"
#include "bench/files.h"
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
  std::vector<std::string> models{"smollm2"}, texts{"data/sample_prose.txt"};
  // Folder of calibrations by model. Without one of the model, they are made from calibration_texts, as Palu's bases
  // always are: never from a text that is read.
  std::string calibrations;
  std::vector<std::string> calibration_texts = {"data/sample_conversation.ndjson", "data/sample_mixed.txt"};
  int tokens = 8064;
  std::vector<std::string> codecs = {"none16",          "turboquant-4",    "turboquant-4-plain",
                                     "turboquant-k4v3", "turboquant-k4v2", "turboquant-3",
                                     "turboquant-k3v2", "turboquant-2",    "turboquant-3.5",
                                     "turboquant-2.5",  "calibrated-4",    "calibrated-3",
                                     "calibrated-2.5",  "calibrated-2",    "oscar-2",
                                     "trellis-4",       "trellis-3",       "trellis-2",
                                     "kivi-4",          "kivi-2",          "gear-4",
                                     "gear-2",          "palu-30",         "palu-50",
                                     "palu-50-4",       "kvmerger-50",     "archive-4",
                                     "archive-3",       "archive-2"};
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
  const std::string kept =
      settings.calibrations.empty() ? "" : quant::calibration_file(settings.calibrations, model->fingerprint());
  Result<std::shared_ptr<const quant::Calibration>> calibration = not_found("");
  if (!kept.empty() && std::filesystem::exists(kept)) {
    calibration = episodes::load_calibration(kept, *model);
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
  }
  if (!calibration.ok()) throw std::runtime_error(calibration.status().message());
  std::fprintf(stderr, "calibrated on: %s\n", (*calibration)->text.c_str());
  return *calibration;
}

std::vector<int32_t> tokens_of(const runtime::Model& model, const runtime::Tokenizer& tokenizer,
                               const std::string& path, int limit) {
  std::vector<int32_t> tokens = read_tokens(tokenizer, path);
  const size_t most = std::min<size_t>(limit > 0 ? static_cast<size_t>(limit) : tokens.size(),
                                       static_cast<size_t>(model.info().n_ctx_train));
  if (tokens.size() > most) tokens.resize(most);
  if (tokens.size() < 2) throw std::runtime_error(path + " has fewer than two tokens");
  return tokens;
}

std::string stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

// model: as it was asked for. Figures of several texts bear the text's name.
void add_figures(const QualityRun& run, const std::string& model, bool several, Report& report) {
  const std::string suffix = "_" + stem(model) + (several ? "_" + run.text : "");
  report.add("tokens" + suffix, static_cast<double>(run.n_tokens), "tokens");
  for (const Quality& quality : run.caches) {
    const std::string name = figure_name(quality.name) + suffix;
    report.add("bits_" + name, quality.bits, "bits/number");
    report.add("bits_pages_" + name, quality.bits_pages, "bits/number");
    report.add("bits_reading_" + name, quality.bits_reading, "bits/number");
    report.add("ppl_" + name, quality.perplexity, "perplexity");
    report.add("kl_" + name, quality.kl, "nats", "libllama f16");
    report.add("top1_" + name, quality.top1, "share", "libllama f16");
  }
}

// The table and the plot lie beside the figures.
void show(const std::vector<QualityRun>& runs) {
  const std::string table = quality_markdown(runs);
  std::printf("\n%s", table.c_str());
  const char* out = std::getenv("RECALLD_BENCH_OUT");
  if (out == nullptr) return;
  const std::filesystem::path path(out);
  for (const Status& written : {write_file(std::filesystem::path(path).replace_extension(".md"), table),
                                write_file(std::filesystem::path(path).replace_extension(".svg"), quality_plot(runs))})
    if (!written.ok()) throw std::runtime_error(written.message());
}

void add_quality(const Settings& settings, Report& report) {
  std::vector<QualityRun> runs;
  for (const std::string& name : settings.models) {
    QualitySettings quality = settings.quality;
    quality.model = model_path(name);
    runtime::ModelOptions options;
    options.path = quality.model;
    auto model = runtime::Model::load(options);
    if (!model.ok()) throw std::runtime_error(model.status().to_string());
    const runtime::Tokenizer tokenizer(*model);
    const auto calibration = calibration_of(*model, tokenizer, settings);
    const std::optional<PaluBases> palu = palu_bases_of(*model, tokenizer, settings);
    const Measured measured{calibration.get(), palu ? &*palu : nullptr};
    for (const std::string& text : settings.texts) {
      const std::vector<int32_t> tokens = tokens_of(**model, tokenizer, text, settings.tokens);
      std::fprintf(stderr, "%s, %s:\n", name.c_str(), text.c_str());
      runs.push_back({std::filesystem::path(quality.model).filename().string(), stem(text), tokens.size(),
                      measure_quality(quality, *model, tokens, settings.codecs, measured)});
      add_figures(runs.back(), name, settings.texts.size() > 1, report);
      show(runs);
    }
  }
}

void run(const Settings& settings) {
  std::string models;
  if (!settings.no_quality)
    for (const std::string& name : settings.models)
      models += (models.empty() ? "" : ", ") + std::filesystem::path(model_path(name)).filename().string();
  Report report("codecs", models);
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
  CLI::App app("Codecs against libllama's f16, q8_0 and q4_0 caches: bits, perplexity, KL, time");
  app.add_option("--model", settings.models, "smollm2, gemma3 or a GGUF's path; may be given several times");
  app.add_option(
      "--text", settings.texts,
      "text that is read (.txt, or a conversation as .ndjson or LoCoMo's .json); may be given several times");
  app.add_option("--tokens", settings.tokens, "tokens of it, 0 for all that fit the model's window");
  app.add_option("--codecs", settings.codecs, "names of our codecs")->delimiter(',');
  app.add_option("--stock", settings.quality.stock, "libllama's caches beside f16: q8_0, q4_0, q4_1")
      ->delimiter(',')
      ->check(CLI::IsMember({"q8_0", "q4_0", "q4_1"}));
  app.add_option("--threads", settings.quality.threads, "threads of both sides, where a model runs");
  app.add_option("--block", settings.quality.block, "tokens read at once");
  app.add_option("--page", settings.quality.page_tokens, "tokens of a page");
  app.add_option("--pinned", settings.quality.pinned, "first tokens kept in 16 bits");
  app.add_option("--recent", settings.quality.recent, "newest tokens kept in 16 bits");
  app.add_option("--head-dim", settings.kernels.head_dim, "head_dim of the timed kernels");
  app.add_option("--repeats", settings.kernels.repeats, "repetitions of the timed kernels");
  app.add_option("--calibrations", settings.calibrations,
                 "folder of calibrations (scripts/calibrate), where none may be made from a --text");
  app.add_option("--calibration-text", settings.calibration_texts,
                 "what to make one from otherwise, and bases: not --text")
      ->delimiter(',');
  app.add_flag("--no-times", settings.no_times, "quality only");
  app.add_flag("--no-quality", settings.no_quality, "times only; needs no model");
  CLI11_PARSE(app, argc, argv);
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
