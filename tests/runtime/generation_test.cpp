#include "runtime/generation.h"

#include <gtest/gtest.h>

#include "runtime/chat_template.h"
#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

class GenerationTest : public ::testing::Test {
 protected:
  GenerationTest()
      : model_(default_model()),
        tokenizer_(model_),
        engine_(engine_or_throw(model_)),
        sequence_(make_sequence(*model_)) {
    const auto chat = ChatTemplate::create(model_->info().chat_template).value();
    const std::vector<ChatMessage> question = {{"user", "Count from one to ten in words, separated by commas."}};
    prompt_ = tokenizer_.tokenize(chat.render(question, true).value());
    options_.sampler.temperature = 0;
    options_.max_tokens = 24;
  }
  Result<GenerationResult> run(const GenerationHooks& hooks = {}) {
    return generate(*engine_, tokenizer_, *sequence_, prompt_, options_, hooks, clock_);
  }

  std::shared_ptr<const Model> model_;
  Tokenizer tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<cache::Sequence> sequence_;
  std::vector<int32_t> prompt_;
  GenerationOptions options_;
  SystemClock clock_;
};

TEST_F(GenerationTest, StreamsWhatItReturnsAndLeavesTheSequenceReady) {
  std::string streamed;
  GenerationHooks hooks;
  hooks.on_text = [&](std::string_view text) {
    EXPECT_FALSE(text.empty());
    streamed += text;
    return true;
  };
  const GenerationResult result = run(hooks).value();
  EXPECT_EQ(streamed, result.text);
  EXPECT_FALSE(result.text.empty());
  EXPECT_LE(result.tokens.size(), 24U);
  EXPECT_EQ(result.prompt_tokens, static_cast<int32_t>(prompt_.size()));
  EXPECT_EQ(result.decoded_tokens, static_cast<int32_t>(result.tokens.size()) - 1);
  EXPECT_EQ(sequence_->length(), static_cast<int32_t>(prompt_.size() + result.tokens.size()) - 1);
  EXPECT_GT(result.first_token_ms, 0);
  if (result.tokens.size() == 24U && !tokenizer_.is_end(result.tokens.back())) {
    EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  }
}

TEST_F(GenerationTest, StopStringEndsTheTextBeforeIt) {
  const GenerationResult free = run().value();
  ASSERT_GT(free.text.size(), 12U);
  ASSERT_TRUE(sequence_->truncate(0).ok());
  // Across token boundaries: some middle of what the model says.
  const std::string stop = free.text.substr(7, 5);
  options_.stops = {"never said", stop};
  const GenerationResult stopped = run().value();
  EXPECT_EQ(stopped.text, free.text.substr(0, free.text.find(stop)));
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_LT(stopped.tokens.size(), free.tokens.size());
}

TEST_F(GenerationTest, EndOfTurnIsAStop) {
  options_.max_tokens = 0;
  options_.stops = {};
  const auto chat = ChatTemplate::create(model_->info().chat_template).value();
  prompt_ = tokenizer_.tokenize(
      chat.render(std::vector<ChatMessage>{{"user", "Answer with one word: what colour is the sky?"}}, true).value());
  const GenerationResult result = run().value();
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(tokenizer_.is_end(result.tokens.back()));
  EXPECT_EQ(result.text.find("<|im_end|>"), std::string::npos);
}

TEST_F(GenerationTest, SeededSamplingRepeats) {
  options_.sampler = {.temperature = 0.9F, .top_p = 0.95F, .seed = 17};
  const GenerationResult first = run().value();
  ASSERT_TRUE(sequence_->truncate(0).ok());
  EXPECT_EQ(run().value().tokens, first.tokens);
  ASSERT_TRUE(sequence_->truncate(0).ok());
  options_.sampler.seed = 18;
  EXPECT_NE(run().value().tokens, first.tokens);
}

TEST_F(GenerationTest, BlocksYieldAndCanBeCancelled) {
  options_.block = 8;
  options_.max_tokens = 1;
  int yields = 0;
  GenerationHooks hooks;
  hooks.between_blocks = [&] {
    ++yields;
    return ok_status();
  };
  ASSERT_TRUE(run(hooks).ok());
  EXPECT_EQ(yields, static_cast<int>((prompt_.size() + 7) / 8));
  ASSERT_TRUE(sequence_->truncate(0).ok());
  std::atomic<bool> cancel{false};
  hooks.cancel = &cancel;
  hooks.between_blocks = [&] {
    cancel = true;
    return ok_status();
  };
  EXPECT_EQ(run(hooks).value().finish_reason, FinishReason::kCancelled);
  hooks.cancel = nullptr;
  hooks.between_blocks = [] { return unavailable("draining"); };
  EXPECT_EQ(run(hooks).status().code(), StatusCode::kUnavailable);
}

TEST_F(GenerationTest, ReaderWhoLeavesEndsIt) {
  GenerationHooks hooks;
  int pieces = 0;
  hooks.on_text = [&](std::string_view) { return ++pieces < 3; };
  const GenerationResult result = run(hooks).value();
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(pieces, 3);
}

TEST_F(GenerationTest, WindowIsALimitNotACrash) {
  engine_ = engine_or_throw(model_, {.context = static_cast<int32_t>(prompt_.size()) + 5});
  options_.max_tokens = 0;
  const GenerationResult result = run().value();
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(sequence_->length(), engine_->context());
  ASSERT_TRUE(sequence_->truncate(0).ok());
  engine_ = engine_or_throw(model_, {.context = static_cast<int32_t>(prompt_.size())});
  const Status status = run().status();
  EXPECT_EQ(status.code(), StatusCode::kTooLarge);
  EXPECT_EQ(sequence_->length(), 0);
}

TEST_F(GenerationTest, BadOptionsAreRefused) {
  options_.block = 0;
  EXPECT_EQ(run().status().code(), StatusCode::kInvalidArgument);
  options_.block = 8;
  options_.max_tokens = -1;
  EXPECT_EQ(run().status().code(), StatusCode::kInvalidArgument);
  options_.max_tokens = 1;
  prompt_.clear();
  EXPECT_EQ(run().status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace recalld::runtime
