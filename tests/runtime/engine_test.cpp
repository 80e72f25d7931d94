#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/runtime/runtime_fixture.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::logit_distance;
using recalld::testing::SyntheticModel;

// Block and single-token attention sum in different orders; everything else is the same arithmetic.
constexpr double kSameNumbers = 1e-4;

class EngineTest : public SyntheticFixture {
 protected:
  void SetUp() override {
    model_ = make({});
    tokens_ = some_tokens(150, model_->info().n_vocab);
    engine_ = engine_or_throw(model_);
  }
  double distance(const std::vector<float>& a, const std::vector<float>& b) const {
    if (a.size() != b.size()) return 1;
    return logit_distance(a, b, model_->info().n_vocab).relative;
  }
  std::vector<float> whole() {
    const auto sequence = make_sequence(*model_);
    return step_or_throw(*engine_, *sequence, tokens_);
  }

  std::shared_ptr<const Model> model_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, BlockSizesDoNotMatter) {
  const std::vector<float> expected = whole();
  for (const size_t block : {size_t{1}, size_t{3}, size_t{16}, size_t{64}, size_t{149}}) {
    const auto sequence = make_sequence(*model_);
    std::vector<float> logits;
    for (size_t at = 0; at < tokens_.size(); at += block) {
      const auto part = std::span(tokens_).subspan(at, std::min(block, tokens_.size() - at));
      const auto own = step_or_throw(*engine_, *sequence, part);
      logits.insert(logits.end(), own.begin(), own.end());
    }
    EXPECT_EQ(sequence->length(), 150);
    EXPECT_LT(distance(expected, logits), kSameNumbers) << block;
  }
}

TEST_F(EngineTest, UbatchDoesNotMatter) {
  const std::vector<float> expected = whole();
  for (const int ubatch : {1, 7, 64, 512}) {
    const auto engine = engine_or_throw(model_, {.ubatch = ubatch});
    const auto sequence = make_sequence(*model_);
    EXPECT_LT(distance(expected, step_or_throw(*engine, *sequence, tokens_)), kSameNumbers) << ubatch;
  }
}

TEST_F(EngineTest, ThreadsDoNotMatter) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ggml's barriers are not instrumented: TSan cannot see that they order the threads";
#endif
  const std::vector<float> expected = whole();
  const auto engine = engine_or_throw(model_, {.threads = 2});
  const auto sequence = make_sequence(*model_);
  EXPECT_LT(distance(expected, step_or_throw(*engine, *sequence, tokens_)), kSameNumbers);
}

TEST_F(EngineTest, OutputsAreTheWantedRows) {
  const std::vector<float> all = whole();
  const auto n_vocab = static_cast<size_t>(model_->info().n_vocab);
  const auto sequence = make_sequence(*model_);
  const auto front = std::span(tokens_).first(140);
  EXPECT_TRUE(step_or_throw(*engine_, *sequence, front, Outputs::kNone).empty());
  const auto last = step_or_throw(*engine_, *sequence, std::span(tokens_).last(10), Outputs::kLast);
  ASSERT_EQ(last.size(), n_vocab);
  EXPECT_LT(distance({all.end() - static_cast<ptrdiff_t>(n_vocab), all.end()}, last), kSameNumbers);
}

TEST_F(EngineTest, SeveralSequencesInOneStepEqualSeparateSteps) {
  const std::vector<std::vector<int32_t>> texts = {some_tokens(40, 200, 1), some_tokens(1, 200, 2),
                                                   some_tokens(77, 200, 3), some_tokens(5, 200, 4)};
  std::vector<std::vector<float>> separate(texts.size());
  std::vector<std::vector<float>> next_separate(texts.size());
  const std::vector<int32_t> next = {11, 12, 13, 14};
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto sequence = make_sequence(*model_);
    separate[i] = step_or_throw(*engine_, *sequence, texts[i]);
    next_separate[i] = step_or_throw(*engine_, *sequence, {&next[i], 1}, Outputs::kLast);
  }
  for (const int ubatch : {512, 50}) {
    const auto engine = engine_or_throw(model_, {.ubatch = ubatch});
    std::vector<std::unique_ptr<cache::Sequence>> sequences;
    std::vector<std::vector<float>> together(texts.size());
    std::vector<StepRequest> requests;
    for (size_t i = 0; i < texts.size(); ++i) {
      sequences.push_back(make_sequence(*model_));
      requests.push_back(
          {.sequence = sequences[i].get(), .tokens = texts[i], .outputs = Outputs::kAll, .logits = &together[i]});
    }
    ASSERT_TRUE(engine->step(requests).ok());
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_LT(distance(separate[i], together[i]), kSameNumbers) << i;
    for (size_t i = 0; i < texts.size(); ++i) {
      requests[i].tokens = {&next[i], 1};
      requests[i].outputs = Outputs::kLast;
    }
    ASSERT_TRUE(engine->step(requests).ok());
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_LT(distance(next_separate[i], together[i]), kSameNumbers) << i;
  }
}

TEST_F(EngineTest, TruncateForgetsExactly) {
  const std::vector<float> expected = whole();
  const auto sequence = make_sequence(*model_);
  step_or_throw(*engine_, *sequence, std::span(tokens_).first(100), Outputs::kNone);
  const auto wrong = some_tokens(30, 200, 99);
  step_or_throw(*engine_, *sequence, wrong, Outputs::kNone);
  ASSERT_TRUE(sequence->truncate(100).ok());
  const auto rest = step_or_throw(*engine_, *sequence, std::span(tokens_).last(50));
  EXPECT_LT(distance({expected.end() - static_cast<ptrdiff_t>(rest.size()), expected.end()}, rest), kSameNumbers);
}

TEST_F(EngineTest, BadStepsChangeNothing) {
  const auto sequence = make_sequence(*model_);
  step_or_throw(*engine_, *sequence, std::span(tokens_).first(10), Outputs::kNone);
  std::vector<float> logits;
  const auto code = [&](const StepRequest& request) { return engine_->step({&request, 1}).code(); };
  const std::vector<int32_t> outside = {5, model_->info().n_vocab};
  const std::vector<int32_t> negative = {-1};
  const auto too_many = some_tokens(503, 200);
  EXPECT_EQ(code({.sequence = sequence.get(), .tokens = outside, .logits = &logits}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.sequence = sequence.get(), .tokens = negative, .logits = &logits}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.sequence = sequence.get(), .tokens = {}, .logits = &logits}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.sequence = nullptr, .tokens = tokens_, .logits = &logits}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.sequence = sequence.get(), .tokens = tokens_}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.sequence = sequence.get(), .tokens = too_many, .logits = &logits}), StatusCode::kTooLarge);
  const std::vector<StepRequest> twice(2, {.sequence = sequence.get(), .tokens = tokens_, .logits = &logits});
  EXPECT_EQ(engine_->step(twice).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->step({}).code(), StatusCode::kInvalidArgument);
  const auto other = make({.n_kv_heads = 4});
  const auto foreign = make_sequence(*other);
  EXPECT_EQ(code({.sequence = foreign.get(), .tokens = tokens_, .logits = &logits}), StatusCode::kInvalidArgument);
  EXPECT_EQ(sequence->length(), 10);
}

TEST_F(EngineTest, OutOfCacheMemoryUndoesTheWholeStep) {
  // Room for the small sequence and the beginning of the large one.
  const auto pool = cache::MemoryPool::create(model_->cache_shape().f16_bytes_per_token() * 400);
  cache::Sequence small(model_->cache_shape(), pool);
  cache::Sequence large(model_->cache_shape(), pool);
  step_or_throw(*engine_, small, std::span(tokens_).first(20), Outputs::kNone);
  const auto engine = engine_or_throw(model_, {.ubatch = 32});
  const auto many = some_tokens(500, 200);
  const auto few = some_tokens(3, 200);
  std::vector<float> logits[2];
  const std::vector<StepRequest> requests = {{.sequence = &small, .tokens = few, .logits = &logits[0]},
                                             {.sequence = &large, .tokens = many, .logits = &logits[1]}};
  EXPECT_EQ(engine->step(requests).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(small.length(), 20);
  EXPECT_EQ(large.length(), 0);
  const auto rest = step_or_throw(*engine, small, std::span(tokens_).subspan(20, 10));
  const auto expected = whole();
  const auto n_vocab = static_cast<ptrdiff_t>(model_->info().n_vocab);
  EXPECT_LT(distance({expected.begin() + 20 * n_vocab, expected.begin() + 30 * n_vocab}, rest), kSameNumbers);
}

TEST_F(EngineTest, CancelStopsAndUndoes) {
  const auto sequence = make_sequence(*model_);
  step_or_throw(*engine_, *sequence, std::span(tokens_).first(10), Outputs::kNone);
  std::atomic<bool> cancel{true};
  std::vector<float> logits;
  const StepRequest request{.sequence = sequence.get(), .tokens = tokens_, .logits = &logits};
  EXPECT_EQ(engine_->step({&request, 1}, &cancel).code(), StatusCode::kCancelled);
  EXPECT_EQ(sequence->length(), 10);
  cancel = false;
  EXPECT_TRUE(engine_->step({&request, 1}, &cancel).ok());
  EXPECT_EQ(sequence->length(), 160);
}

TEST_F(EngineTest, OptionsOutOfRangeAreRefused) {
  const auto code = [&](const EngineOptions& options) { return Engine::create(model_, options).status().code(); };
  EXPECT_EQ(code({.threads = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.ubatch = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.context = 513}), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_or_throw(model_, {.context = 64})->context(), 64);
  EXPECT_EQ(engine_->context(), 512);
}

TEST_F(EngineTest, MemoryOfGraphsStopsGrowing) {
  const auto sequence = make_sequence(*model_);
  const auto every_shape = [&] {
    ASSERT_TRUE(sequence->truncate(0).ok());
    for (size_t n = 1; n <= 20; ++n) {
      step_or_throw(*engine_, *sequence, std::span(tokens_).first(n), Outputs::kLast);
    }
  };
  every_shape();
  every_shape();
  const size_t bytes = engine_->compute_bytes();
  for (int round = 0; round < 3; ++round) every_shape();
  EXPECT_EQ(engine_->compute_bytes(), bytes);
}

}  // namespace
}  // namespace recalld::runtime
