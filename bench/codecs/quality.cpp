#include "bench/codecs/quality.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <stdexcept>

#include "bench/codecs/reference_codec.h"
#include "bench/codecs/references.h"
#include "bench/codecs/stock_cache.h"
#include "cache/memory_pool.h"
#include "cache/sequence.h"
#include "quant/archive.h"
#include "runtime/engine.h"

namespace recalld::bench {
namespace {

void must(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.to_string());
}

cache::CodecPlan plan_of(const std::string& name, size_t n_layers, const Measured& measured) {
  if (quant::archive_options(name).ok()) {
    cache::CodecPlan plan = cache::plain_plan(n_layers);
    plan.archive = name;
    return plan;
  }
  auto codecs = is_reference(name) ? make_references(name, n_layers, measured.palu)
                                   : quant::make_codecs(name, n_layers, measured.calibration);
  must(codecs.status());
  return {.layers = std::move(codecs).value()};
}

// What a chunk is held in: its archive, what a published codec would need, or its pages as they are.
size_t bytes_of(const cache::Chunk& chunk) {
  if (chunk.archive != nullptr) return chunk.archive->size();
  size_t bytes = 0;
  for (const cache::PagePtr& page : chunk.pages) {
    const auto* reference = dynamic_cast<const ReferenceCodec*>(&page->codec());
    bytes += reference != nullptr ? reference->counted_bytes(page->meta()) : page->bytes();
  }
  return bytes;
}

// Our cache: what is older than the recent rows lies in pages of one codec.
class CodedSequence {
 public:
  CodedSequence(runtime::Engine& engine, const QualitySettings& settings, const std::string& codec,
                const Measured& measured)
      : engine_(engine),
        settings_(settings),
        shape_(engine.model().cache_shape()),
        coded_(plan_of(codec, shape_.layers.size(), measured)),
        plain_(cache::plain_plan(shape_.layers.size())),
        sequence_(shape_, cache::MemoryPool::create(0)) {}

  std::span<const float> read(std::span<const int32_t> tokens) {
    const runtime::StepRequest request{&sequence_, tokens, runtime::Outputs::kAll, &logits_};
    must(engine_.step({&request, 1}));
    bytes_read_ += static_cast<double>(bytes());
    numbers_read_ += numbers(sequence_.length());
    const int32_t frozen = sequence_.length() - sequence_.working_tokens();
    if (frozen < settings_.pinned && sequence_.working_tokens() >= settings_.pinned)
      pinned_bytes_ += freeze(settings_.pinned, plain_);
    while (sequence_.length() - sequence_.working_tokens() >= settings_.pinned &&
           sequence_.working_tokens() >= settings_.recent + settings_.page_tokens) {
      coded_bytes_ += freeze(settings_.page_tokens, coded_);
      coded_tokens_ += settings_.page_tokens;
    }
    return logits_;
  }

  double bits() const { return 8 * static_cast<double>(bytes()) / numbers(sequence_.length()); }
  double bits_pages() const {
    return coded_tokens_ > 0 ? 8 * static_cast<double>(coded_bytes_) / numbers(coded_tokens_) : 0;
  }
  double bits_reading() const { return 8 * bytes_read_ / numbers_read_; }

 private:
  // The oldest n rows become pages. Returns their bytes.
  size_t freeze(int n, const cache::CodecPlan& plan) {
    const auto chunk = sequence_.freeze(n, plan, sequence_.length() - sequence_.working_tokens(), {});
    must(chunk.status());
    return bytes_of(**chunk);
  }
  size_t bytes() const {
    return pinned_bytes_ + coded_bytes_ +
           static_cast<size_t>(sequence_.working_tokens()) * shape_.f16_bytes_per_token();
  }
  double numbers(int n_tokens) const {
    return static_cast<double>(n_tokens) * static_cast<double>(shape_.f16_bytes_per_token()) / 2;
  }

  runtime::Engine& engine_;
  const QualitySettings& settings_;
  const cache::CacheShape& shape_;
  cache::CodecPlan coded_, plain_;
  cache::Sequence sequence_;
  std::vector<float> logits_;
  size_t pinned_bytes_ = 0, coded_bytes_ = 0;
  int coded_tokens_ = 0;
  double bytes_read_ = 0, numbers_read_ = 0;
};

// A row of logits as log-probabilities.
void log_softmax(std::span<const float> logits, std::vector<float>& out) {
  const float top = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - top);
  const float shift = top + static_cast<float>(std::log(sum));
  out.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) out[i] = logits[i] - shift;
}

size_t argmax(std::span<const float> row) { return static_cast<size_t>(std::ranges::max_element(row) - row.begin()); }

// What the 16-bit cache says of one token.
struct Reference {
  std::vector<float> log_probabilities, probabilities;
  size_t best = 0;

  void set(std::span<const float> row) {
    log_probabilities.assign(row.begin(), row.end());
    probabilities.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) probabilities[i] = std::exp(row[i]);
    best = argmax(row);
  }
};

class Tally {
 public:
  // row: log-probabilities; next: the token that follows, or -1.
  void add(const Reference& reference, std::span<const float> row, int32_t next) {
    double kl = 0;
    for (size_t i = 0; i < row.size(); ++i)
      kl += reference.probabilities[i] * (reference.log_probabilities[i] - row[i]);
    kl_ += kl;
    same_ += reference.best == argmax(row);
    ++rows_;
    if (next < 0) return;
    loss_ -= row[static_cast<size_t>(next)];
    ++predicted_;
  }
  double kl() const { return kl_ / rows_; }
  double top1() const { return same_ / rows_; }
  double perplexity() const { return std::exp(loss_ / predicted_); }

 private:
  double kl_ = 0, loss_ = 0, same_ = 0, rows_ = 0, predicted_ = 0;
};

struct Arm {
  std::string name;
  std::function<std::span<const float>(std::span<const int32_t>)> read;
  std::function<double()> bits, bits_pages, bits_reading;
  Tally tally;
};

}  // namespace

bool is_codec(const std::string& name) {
  return quant::archive_options(name).ok() || is_reference(name) || quant::check_codec_name(name).ok();
}

std::vector<Quality> measure_quality(const QualitySettings& settings,
                                     const std::shared_ptr<const runtime::Model>& model,
                                     std::span<const int32_t> tokens, const std::vector<std::string>& codecs,
                                     const Measured& measured) {
  const auto width = static_cast<size_t>(model->info().n_vocab);
  runtime::EngineOptions options;
  options.threads = settings.threads;
  auto engine = runtime::Engine::create(model, options);
  must(engine.status());
  const StockModel stock_model(settings.model);
  std::vector<std::unique_ptr<StockSequence>> stock;
  std::vector<std::unique_ptr<CodedSequence>> coded;
  std::vector<Arm> arms;
  for (const StockType& type : stock_types()) {
    if (type.name != "f16" && std::ranges::find(settings.stock, type.name) == settings.stock.end()) continue;
    const int context = static_cast<int>(round_up(tokens.size(), 256));
    stock.push_back(std::make_unique<StockSequence>(stock_model, type, context, settings.block, settings.threads));
    StockSequence* sequence = stock.back().get();
    const auto bits = [bits = type.bits] { return bits; };
    arms.push_back({type.name, [sequence](auto block) { return sequence->read(block); }, bits, bits, bits, {}});
  }
  for (const std::string& name : codecs) {
    coded.push_back(std::make_unique<CodedSequence>(**engine, settings, name, measured));
    CodedSequence* sequence = coded.back().get();
    arms.push_back({name,
                    [sequence](auto block) { return sequence->read(block); },
                    [sequence] { return sequence->bits(); },
                    [sequence] { return sequence->bits_pages(); },
                    [sequence] { return sequence->bits_reading(); },
                    {}});
  }

  std::vector<Reference> reference(static_cast<size_t>(settings.block));
  std::vector<float> row;
  for (size_t at = 0; at < tokens.size(); at += static_cast<size_t>(settings.block)) {
    const auto block = tokens.subspan(at, std::min<size_t>(tokens.size() - at, static_cast<size_t>(settings.block)));
    for (Arm& arm : arms) {
      const std::span<const float> logits = arm.read(block);
      for (size_t i = 0; i < block.size(); ++i) {
        const int32_t next = at + i + 1 < tokens.size() ? tokens[at + i + 1] : -1;
        log_softmax(logits.subspan(i * width, width), row);
        if (&arm == &arms.front()) reference[i].set(row);
        arm.tally.add(reference[i], row, next);
      }
    }
    std::fprintf(stderr, "\r%zu of %zu tokens", at + block.size(), tokens.size());
  }
  std::fprintf(stderr, "\n");

  std::vector<Quality> results;
  results.reserve(arms.size());
  for (const Arm& arm : arms)
    results.push_back({arm.name, arm.bits(), arm.bits_pages(), arm.bits_reading(), arm.tally.perplexity(),
                       arm.tally.kl(), arm.tally.top1()});
  return results;
}

}  // namespace recalld::bench
