// Agreement of our engine with libllama, nothing evicted and history in 16-bit pages.
//
// kl_mean and top1_agreement: the model with its weights expanded to F32 (the same values), against libllama with a
// 16-bit cache and flash attention. ggml multiplies quantized weights with activations rounded to 8 bits, and that
// rounding blows the smallest difference up: libllama differs from itself by more than 1e-3 nats when only its way of
// computing attention changes. Expanded weights leave what two engines really do differently.
//   kl_exact, kl_libllama_exact   ours, and libllama as above, against libllama computing attention in F32
//   *_quantized                   the model as it is, beside libllama against itself without flash attention
//   greedy_same_B                 1 when reading the prompt in blocks of B gives the greedy tokens that every other
//                                 block size gives; the model as it is

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "bench/oracle/comparison.h"
#include "bench/report.h"
#include "runtime/tokenizer.h"
#include "tests/support/expand_gguf.h"

namespace recalld::bench {
namespace {

const std::vector<std::pair<int, std::string>> kBlocks = {{64, "64"}, {256, "256"}, {1024, "1024"}, {0, "whole"}};

// A copy of the model that is gone when the bench ends.
class ExpandedModel {
 public:
  explicit ExpandedModel(const std::string& folder)
      : path_((std::filesystem::path(folder) / ("recalld-oracle-" + std::to_string(::getpid()) + ".gguf")).string()) {}
  ~ExpandedModel() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ExpandedModel(const ExpandedModel&) = delete;
  ExpandedModel& operator=(const ExpandedModel&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void say(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

void add_distance(Report* report, const std::string& suffix, const testing::LogitDistance& distance,
                  const std::string& against) {
  report->add("kl_" + suffix, distance.kl, "nats", against);
  report->add(suffix == "mean" ? "top1_agreement" : "top1_" + suffix, distance.top1, "", against);
}

Status compare_expanded(const ComparisonOptions& options, Report* report) {
  RECALLD_ASSIGN_OR_RETURN(const auto comparison, Comparison::create(options));
  say("expanded weights: libllama");
  RECALLD_ASSIGN_OR_RETURN(const auto theirs, comparison->libllama({}));
  say("expanded weights: libllama, attention in F32");
  RECALLD_ASSIGN_OR_RETURN(const auto exact, comparison->libllama({.flash_attention = false, .f32_cache = true}));
  say("expanded weights: ours");
  RECALLD_ASSIGN_OR_RETURN(const auto ours, comparison->ours());
  const int32_t n_vocab = comparison->n_vocab();
  add_distance(report, "mean", testing::logit_distance(theirs, ours, n_vocab),
               "libllama f16 flash attention, F32 weights");
  add_distance(report, "exact", testing::logit_distance(exact, ours, n_vocab), "libllama f32, F32 weights");
  add_distance(report, "libllama_exact", testing::logit_distance(exact, theirs, n_vocab),
               "libllama f16 flash attention to libllama f32");
  return ok_status();
}

Status compare_as_it_is(const ComparisonOptions& options, Report* report) {
  RECALLD_ASSIGN_OR_RETURN(const auto comparison, Comparison::create(options));
  say("quantized weights: libllama");
  RECALLD_ASSIGN_OR_RETURN(const auto theirs, comparison->libllama({}));
  say("quantized weights: libllama without flash attention");
  RECALLD_ASSIGN_OR_RETURN(const auto again, comparison->libllama({.flash_attention = false}));
  say("quantized weights: ours");
  RECALLD_ASSIGN_OR_RETURN(const auto ours, comparison->ours());
  const int32_t n_vocab = comparison->n_vocab();
  add_distance(report, "quantized", testing::logit_distance(theirs, ours, n_vocab), "libllama f16 flash attention");
  add_distance(report, "libllama_quantized", testing::logit_distance(theirs, again, n_vocab),
               "libllama f16 with and without flash attention");
  say("quantized weights: greedy");
  std::vector<std::vector<int32_t>> greedy;
  for (const auto& [block, name] : kBlocks) {
    RECALLD_ASSIGN_OR_RETURN(auto tokens, comparison->our_greedy(block));
    greedy.push_back(std::move(tokens));
  }
  for (size_t i = 0; i < kBlocks.size(); ++i) {
    const bool same = std::all_of(greedy.begin(), greedy.end(), [&](const auto& other) { return other == greedy[i]; });
    report->add("greedy_same_" + kBlocks[i].second, same ? 1 : 0, "", "every other block size");
  }
  return ok_status();
}

Status run(ComparisonOptions options, const std::string& text_path, int n_prompt, int n_steps, Report* report) {
  RECALLD_ASSIGN_OR_RETURN(const auto model, runtime::Model::load({.path = options.model_path, .file = {}}));
  std::ifstream in(text_path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const runtime::Tokenizer tokenizer(model);
  std::vector<int32_t> tokens = tokenizer.prompt_start();
  const auto words = tokenizer.tokenize(text);
  tokens.insert(tokens.end(), words.begin(), words.end());
  const auto needed = static_cast<size_t>(n_prompt + n_steps);
  if (tokens.size() < needed) {
    return invalid_argument("'" + text_path + "' has " + std::to_string(tokens.size()) + " tokens and " +
                            std::to_string(needed) + " are needed; give a longer text with --text");
  }
  options.prompt.assign(tokens.begin(), tokens.begin() + n_prompt);
  options.continuation.assign(tokens.begin() + n_prompt, tokens.begin() + static_cast<ptrdiff_t>(needed));
  RECALLD_RETURN_IF_ERROR(compare_as_it_is(options, report));
  const ExpandedModel expanded(std::filesystem::temp_directory_path().string());
  RECALLD_RETURN_IF_ERROR(testing::expand_gguf(options.model_path, expanded.path()));
  options.model_path = expanded.path();
  return compare_expanded(options, report);
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  using namespace recalld;
  const char* model = std::getenv("RECALLD_MODEL");
  bench::ComparisonOptions options;
  options.model_path = model != nullptr ? model : "";
  std::string text = "data/sample_prose.txt";
  int n_prompt = 2048;
  int n_steps = 256;
  CLI::App app("Agreement of recalld's engine with libllama");
  app.add_option("--model", options.model_path, "GGUF (default: RECALLD_MODEL)");
  app.add_option("--text", text, "text to read")->capture_default_str();
  app.add_option("--prompt", n_prompt, "tokens of the prompt")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--steps", n_steps, "teacher-forced steps")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "threads of both engines")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  bench::Report report("oracle", std::filesystem::path(options.model_path).filename().string());
  const Status status = bench::run(options, text, n_prompt, n_steps, &report);
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.to_string().c_str());
    return 1;
  }
  return report.finish();
}
