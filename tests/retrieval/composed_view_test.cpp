// Pages of far-apart parts of a history, in a new order and at compact positions, against libllama with a 32-bit cache
// whose keys it re-rotates itself (seq_rm, seq_add).
//
// The model's weights are expanded to 32 bits first: with the 4-bit file activations are rounded to 8 bits between the
// layers, and any two orders of adding the same numbers, libllama's own among them, then differ by a KL of up to 3e-3.

#include <gtest/gtest.h>
#include <llama.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "retrieval/compose.h"
#include "tests/episodes/model_fixture.h"

namespace recalld::retrieval {
namespace {

struct Range {
  int first, last;  // history tokens [first, last)
};

// Segments of uneven length over [0, n_tokens) behind 16 pinned tokens, in pages of at most 64.
std::vector<PageGroup> freeze_segments(cache::Sequence& trunk, const cache::CodecPlan& plan, int n_tokens) {
  std::vector<PageGroup> groups{{0, 16, true, trunk.freeze(16, plan, 0, {}).value(), 0}};
  int at = 16;
  for (int32_t segment = 0; at < n_tokens; ++segment) {
    int left = std::min(20 + (segment * 37) % 90, n_tokens - at);
    for (; left > 0;) {
      const int n = std::min(left, 64);
      groups.push_back({at, n, false, trunk.freeze(n, plan, at, {}).value(), segment});
      at += n;
      left -= n;
    }
  }
  return groups;
}

// The history tokens of a choice of groups.
std::vector<Range> ranges_of(const std::vector<PageGroup>& groups, const std::vector<size_t>& chosen) {
  std::vector<Range> ranges;
  for (const size_t i : chosen)
    ranges.push_back(
        {static_cast<int>(groups[i].token_start), static_cast<int>(groups[i].token_start + groups[i].n_tokens)});
  return ranges;
}

// The default model with 32-bit weights, in a file that goes away with the object.
class WideModel {
 public:
  WideModel()
      : path_((std::filesystem::temp_directory_path() / ("recalld-wide-" + std::to_string(getpid()) + ".gguf"))
                  .string()) {
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = LLAMA_FTYPE_ALL_F32;
    params.allow_requantize = true;
    params.nthread = 1;
    EXPECT_EQ(llama_model_quantize(test_model()->info().path.c_str(), path_.c_str(), &params), 0U);
    runtime::ModelOptions options;
    options.path = path_;
    model_ = runtime::Model::load(options).value();
  }
  ~WideModel() { std::filesystem::remove(path_); }
  const std::shared_ptr<const runtime::Model>& get() const { return model_; }

 private:
  std::string path_;
  std::shared_ptr<const runtime::Model> model_;
};

class Oracle {
 public:
  explicit Oracle(const std::string& path) {
    llama_model_params model_params = llama_model_default_params();
    model_.reset(llama_model_load_from_file(path.c_str(), model_params));
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 2048;
    params.n_batch = 1024;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context_.reset(llama_init_from_model(model_.get(), params));
  }

  void read(std::vector<int32_t> tokens, int position) {
    llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
    batch.n_tokens = static_cast<int32_t>(tokens.size());
    for (int i = 0; i < batch.n_tokens; ++i) {
      batch.token[i] = tokens[static_cast<size_t>(i)];
      batch.pos[i] = position + i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    ASSERT_EQ(llama_decode(context_.get(), batch), 0);
    llama_batch_free(batch);
  }

  // Keeps the ranges alone and moves them next to each other, in the order given.
  void rearrange(const std::vector<Range>& ranges, int n_history) {
    llama_memory_t memory = llama_get_memory(context_.get());
    std::vector<Range> kept = ranges;
    std::sort(kept.begin(), kept.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
    int at = 0;
    for (const Range& range : kept) {
      llama_memory_seq_rm(memory, 0, at, range.first);
      at = range.last;
    }
    llama_memory_seq_rm(memory, 0, at, n_history);
    // By way of free positions far above, so that moved ranges never meet ones still to be moved.
    constexpr int kAway = 4096;
    llama_memory_seq_add(memory, 0, 0, n_history, kAway);
    int place = 0;
    for (const Range& range : ranges) {
      llama_memory_seq_add(memory, 0, kAway + range.first, kAway + range.last, place - range.first - kAway);
      place += range.last - range.first;
    }
  }

  const float* logits(int i) { return llama_get_logits_ith(context_.get(), i); }

 private:
  struct Free {
    void operator()(llama_model* model) const { llama_model_free(model); }
    void operator()(llama_context* context) const { llama_free(context); }
  };
  std::unique_ptr<llama_model, Free> model_;
  std::unique_ptr<llama_context, Free> context_;
};

double kl(const float* p_logits, const float* q_logits, int n) {
  const auto normaliser = [&](const float* logits) {
    const double top = *std::max_element(logits, logits + n);
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += std::exp(logits[i] - top);
    return top + std::log(sum);
  };
  const double p_norm = normaliser(p_logits), q_norm = normaliser(q_logits);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double log_p = p_logits[i] - p_norm;
    sum += std::exp(log_p) * (log_p - (q_logits[i] - q_norm));
  }
  return sum;
}

TEST(ComposedView, EqualsALibraryThatReRotatesItsKeys) {
  const WideModel wide;
  const std::shared_ptr<const runtime::Model>& model = wide.get();
  const runtime::Tokenizer tokenizer(model);
  const char* source = std::getenv("RECALLD_SOURCE_DIR");
  std::ifstream file(std::string(source != nullptr ? source : ".") + "/data/sample_prose.txt");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<int32_t> history = tokenizer.tokenize(text.substr(0, 6000));
  ASSERT_GE(history.size(), 1160U);
  const std::vector<int32_t> question(history.begin() + 960, history.begin() + 1160);
  history.resize(960);
  const auto engine = runtime::Engine::create(model, {}).value();
  const auto pool = cache::MemoryPool::create(0);
  cache::Sequence trunk(model->cache_shape(), pool);
  runtime::StepRequest request{&trunk, history, runtime::Outputs::kNone, nullptr};
  ASSERT_TRUE(engine->step({&request, 1}).ok());
  const size_t n_layers = model->cache_shape().layers.size();
  const cache::CodecPlan plan{std::vector(n_layers, quant::make_codec("none16").value())};
  const std::vector<PageGroup> groups = freeze_segments(trunk, plan, 960);
  // Segments in no order of time, the pinned tokens before and the newest after them.
  const std::vector<int32_t> segments{9, 1, 5, 12};
  std::vector<size_t> chosen = view_groups_for(groups, segments, recent_from(groups, 100));
  const auto n_view = static_cast<int>(tokens_of(groups, chosen));

  Oracle oracle(model->info().path);
  oracle.read(history, 0);
  oracle.rearrange(ranges_of(groups, chosen), static_cast<int>(history.size()));
  oracle.read(question, n_view);

  cache::Sequence composed(model->cache_shape(), pool);
  ASSERT_TRUE(composed.set_view(compose(groups, chosen, n_layers)).ok());
  ASSERT_EQ(composed.length(), n_view);
  std::vector<float> logits;
  request = {&composed, question, runtime::Outputs::kAll, &logits};
  ASSERT_TRUE(engine->step({&request, 1}).ok());

  const int n_vocab = model->info().n_vocab;
  double sum = 0, worst = 0;
  for (size_t i = 0; i < question.size(); ++i) {
    const double each =
        kl(oracle.logits(static_cast<int>(i)), logits.data() + i * static_cast<size_t>(n_vocab), n_vocab);
    sum += each;
    worst = std::max(worst, each);
  }
  const double mean = sum / static_cast<double>(question.size());
  RecordProperty("kl_mean", std::to_string(mean));
  std::printf("composed view against libllama with a 32-bit cache: mean KL %.2e, worst %.2e over %zu tokens\n", mean,
              worst, question.size());
  EXPECT_LE(mean, 1e-4);

  // The same pages at their original distances would not do: the test would notice positions left alone.
  cache::Sequence apart(model->cache_shape(), pool);
  std::sort(chosen.begin(), chosen.end());
  ASSERT_TRUE(apart.set_view(compose(groups, chosen, n_layers)).ok());
  std::vector<float> other;
  request = {&apart, question, runtime::Outputs::kAll, &other};
  ASSERT_TRUE(engine->step({&request, 1}).ok());
  double difference = 0;
  for (size_t i = 0; i < question.size(); ++i)
    difference += kl(oracle.logits(static_cast<int>(i)), other.data() + i * static_cast<size_t>(n_vocab), n_vocab);
  EXPECT_GT(difference / static_cast<double>(question.size()), 3 * mean) << "another order must be told apart";
}

}  // namespace
}  // namespace recalld::retrieval
