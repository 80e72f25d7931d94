// Decode and prefill speed of our engine against libllama, in one process, with the same threads, taking turns.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "bench/engine/stock.h"
#include "bench/report.h"
#include "cache/sequence.h"
#include "runtime/engine.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {
namespace {

constexpr int kPageTokens = 128;

struct Settings {
  std::string model, text = "data/sample_prose.txt";
  std::vector<int> depths{0, 4096, 7500};
  int threads = 1, repeats = 5, decode_tokens = 24, prefill_tokens = 256;
};

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void must(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.to_string());
}

// Our side: a sequence whose history lies in pages of one codec.
class Ours {
 public:
  Ours(runtime::Engine& engine, const std::string& codec, std::shared_ptr<cache::MemoryPool> pool)
      : engine_(engine),
        plan_{std::vector(engine.model().cache_shape().layers.size(), quant::make_codec(codec).value())},
        sequence_(engine.model().cache_shape(), std::move(pool)) {}

  void read(std::span<const int32_t> tokens, bool logits) {
    const runtime::StepRequest request{&sequence_, tokens, logits ? runtime::Outputs::kLast : runtime::Outputs::kNone,
                                       &logits_};
    must(engine_.step({&request, 1}));
  }
  // Reads tokens as history: blocks, then pages.
  void deepen(std::span<const int32_t> tokens) {
    while (!tokens.empty()) {
      const size_t count = std::min<size_t>(tokens.size(), 512);
      const int64_t start = sequence_.length();
      read(tokens.first(count), false);
      for (size_t done = 0; done < count; done += kPageTokens)
        must(sequence_
                 .freeze(static_cast<int32_t>(std::min<size_t>(count - done, kPageTokens)), plan_,
                         start + static_cast<int64_t>(done), {})
                 .status());
      tokens = tokens.subspan(count);
    }
  }
  // Takes another sequence's pages over in this one's codec.
  void copy_pages(const Ours& other, cache::MemoryPool& pool) {
    cache::View view;
    const auto& layers = other.sequence_.view().layers;
    view.layers.resize(layers.size());
    for (size_t page = 0; page < layers[0].size(); ++page) {
      cache::Chunk chunk;
      for (const auto& layer : layers) chunk.pages.push_back(layer[page]);
      const auto coded = cache::recode_chunk(sequence_.shape(), chunk, plan_, pool);
      must(coded.status());
      for (size_t layer = 0; layer < layers.size(); ++layer) view.layers[layer].push_back((*coded)->pages[layer]);
    }
    must(sequence_.set_view(std::move(view)));
  }
  int length() const { return sequence_.length(); }
  void truncate(int length) { must(sequence_.truncate(length)); }

 private:
  runtime::Engine& engine_;
  cache::CodecPlan plan_;
  cache::Sequence sequence_;
  std::vector<float> logits_;
};

std::vector<int32_t> tokens_of(const runtime::Tokenizer& tokenizer, const std::string& path, size_t wanted) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path + "; give a text with --text");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<int32_t> tokens = tokenizer.prompt_start();
  while (tokens.size() < wanted) {
    const std::vector<int32_t> more = tokenizer.tokenize(text);
    if (more.empty()) throw std::runtime_error(path + " is empty");
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

// Seconds per token of decoding `count` tokens one by one, then back to where it was.
template <typename Side, typename Read>
double decode_once(Side& side, std::span<const int32_t> tokens, const Read& read) {
  const int depth = side.length();
  const double time = seconds([&] {
    for (size_t i = 0; i < tokens.size(); ++i) read(tokens.subspan(i, 1));
  });
  side.truncate(depth);
  return time / static_cast<double>(tokens.size());
}

void run(const Settings& settings) {
  runtime::ModelOptions model_options;
  model_options.path = settings.model;
  const auto model = runtime::Model::load(model_options);
  must(model.status());
  runtime::EngineOptions engine_options;
  engine_options.threads = settings.threads;
  auto engine = runtime::Engine::create(*model, engine_options);
  must(engine.status());
  const int context = (*engine)->context();
  Stock stock(settings.model, context, settings.threads);
  const runtime::Tokenizer tokenizer(*model);
  const std::vector<int32_t> tokens = tokens_of(tokenizer, settings.text, static_cast<size_t>(context));
  const auto pool = cache::MemoryPool::create(0);
  Ours plain(**engine, "none16", pool);
  Report report("engine", std::filesystem::path(settings.model).filename().string());

  for (const int depth : settings.depths) {
    std::fprintf(stderr, "reading to depth %d ...\n", depth);
    const auto all = std::span(tokens);
    stock.read(all.subspan(static_cast<size_t>(stock.length()), static_cast<size_t>(depth - stock.length())));
    plain.deepen(all.subspan(static_cast<size_t>(plain.length()), static_cast<size_t>(depth - plain.length())));
    Ours coded(**engine, "turboquant-4", pool);
    if (depth > 0) coded.copy_pages(plain, *pool);
    const auto next = all.subspan(static_cast<size_t>(depth));
    const auto block = next.first(static_cast<size_t>(settings.prefill_tokens));
    const auto words = next.first(static_cast<size_t>(settings.decode_tokens));

    std::vector<double> decode_stock, decode_f16, decode_tq4, prefill_stock, prefill_f16, prefill_tq4;
    for (int repeat = 0; repeat <= settings.repeats; ++repeat) {
      const auto read_stock = [&](std::span<const int32_t> piece) { stock.read(piece); };
      const auto read_plain = [&](std::span<const int32_t> piece) { plain.read(piece, true); };
      const auto read_coded = [&](std::span<const int32_t> piece) { coded.read(piece, true); };
      const auto prefill = [&](auto& side, const auto& read) {
        const double time = seconds([&] { read(block); });
        side.truncate(depth);
        return static_cast<double>(block.size()) / time;
      };
      const double a = 1 / decode_once(stock, words, read_stock), b = 1 / decode_once(plain, words, read_plain),
                   c = 1 / decode_once(coded, words, read_coded);
      const double d = prefill(stock, read_stock), e = prefill(plain, read_plain), f = prefill(coded, read_coded);
      if (repeat == 0) continue;  // warm-up
      decode_stock.push_back(a);
      decode_f16.push_back(b);
      decode_tq4.push_back(c);
      prefill_stock.push_back(d);
      prefill_f16.push_back(e);
      prefill_tq4.push_back(f);
    }
    const std::string at = std::to_string(depth);
    report.add("decode_ratio_" + at + "_f16", median(decode_f16) / median(decode_stock), "ratio", "libllama f16");
    report.add("decode_ratio_" + at + "_tq4", median(decode_tq4) / median(decode_stock), "ratio", "libllama f16");
    report.add("prefill_ratio_" + at, median(prefill_f16) / median(prefill_stock), "ratio", "libllama f16");
    report.add("prefill_ratio_" + at + "_tq4", median(prefill_tq4) / median(prefill_stock), "ratio", "libllama f16");
    report.add("decode_stock_" + at, median(decode_stock), "tokens/s");
    report.add("decode_f16_" + at, median(decode_f16), "tokens/s");
    report.add("decode_tq4_" + at, median(decode_tq4), "tokens/s");
    report.add("prefill_stock_" + at, median(prefill_stock), "tokens/s");
    report.add("prefill_f16_" + at, median(prefill_f16), "tokens/s");
    report.print();
  }
  if (report.finish() != 0) throw std::runtime_error("the figures could not be written");
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  recalld::bench::Settings settings;
  if (const char* model = std::getenv("RECALLD_MODEL"); model != nullptr) settings.model = model;
  CLI::App app("Decode and prefill speed against libllama, in one process");
  app.add_option("--model", settings.model, "GGUF (default: RECALLD_MODEL)");
  app.add_option("--text", settings.text, "text that is read; repeated when it is short");
  app.add_option("--depths", settings.depths, "history tokens before each measurement, ascending");
  app.add_option("--threads", settings.threads, "threads of both sides");
  app.add_option("--repeats", settings.repeats, "repetitions, of which the median counts");
  CLI11_PARSE(app, argc, argv);
  try {
    recalld::bench::run(settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
