// Layers with a sliding window, against libllama: every setting matters, and pages, blocks and single tokens agree.
#include <gtest/gtest.h>

#include "tests/runtime/runtime_fixture.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::LlamaOracle;
using recalld::testing::SyntheticModel;

constexpr double kTolerance = 4e-3;

SyntheticModel gemma() {
  SyntheticModel model;
  model.architecture = "gemma3";
  model.n_layers = 4;
  model.n_kv_heads = 1;
  model.head_dim = 256;
  model.rope_base = 1e6F;
  model.window = 40;
  model.window_pattern = 3;
  return model;
}

class WindowTest : public SyntheticFixture {
 protected:
  // libllama's logits of all tokens for the model that was made last.
  std::vector<float> expected(std::span<const int32_t> tokens) const {
    return LlamaOracle::open(path_, {.n_ctx = 512}).value()->read(tokens, true).value();
  }
};

// What the settings change is far above the tolerance that the families are compared with.
TEST_F(WindowTest, EverySettingChangesTheLogits) {
  const auto model = make(gemma());
  const auto tokens = some_tokens(120, model->info().n_vocab);
  const std::vector<float> right = expected(tokens);
  std::vector<SyntheticModel> others(6, gemma());
  others[0].window = 0;
  others[1].window = 41;
  others[2].window_pattern = 2;
  others[3].window_rope_base = 5000.0F;
  others[4].logit_softcap = 4.0F;
  others[5].rope_linear_factor = 2.0F;
  for (size_t i = 0; i < others.size(); ++i) {
    const auto other = make(others[i]);
    const auto engine = engine_or_throw(other);
    const auto logits = step_or_throw(*engine, *make_sequence(*other), tokens);
    EXPECT_GT(recalld::testing::logit_distance(right, logits, other->info().n_vocab).relative, 2 * kTolerance) << i;
  }
}

// Blocks of all sizes and single tokens, history in 16-bit pages that leave the window one after another.
TEST_F(WindowTest, PagesBlocksAndDecodingEqualLibllamas) {
  const auto model = make(gemma());
  const auto tokens = some_tokens(260, model->info().n_vocab);
  const std::vector<float> right = expected(tokens);
  const auto engine = engine_or_throw(model);
  const auto sequence = make_sequence(*model);
  const cache::CodecPlan plan{std::vector(4, quant::make_codec("none16").value())};
  std::vector<float> logits;
  size_t at = 0;
  for (const size_t n : {50, 1, 1, 3, 64, 5, 1, 70, 2, 40, 1, 1, 21}) {
    const auto part = step_or_throw(*engine, *sequence, std::span(tokens).subspan(at, n));
    logits.insert(logits.end(), part.begin(), part.end());
    at += n;
    if (n < 40) continue;
    const int64_t first = sequence->length() - sequence->working_tokens();
    ASSERT_TRUE(sequence->freeze(33, plan, first, {}).ok());
  }
  ASSERT_EQ(at, tokens.size());
  EXPECT_LT(recalld::testing::logit_distance(right, logits, model->info().n_vocab).relative, kTolerance);
}

// One kept row of logits must not cost the memory of all: a vocabulary may have 262,144 tokens.
TEST_F(WindowTest, LogitsOfTheLastTokenAloneTakeOneRow) {
  const auto model = make(gemma());
  const auto tokens = some_tokens(64, model->info().n_vocab);
  const auto bytes_of = [&](Outputs outputs) {
    const auto engine = engine_or_throw(model);
    step_or_throw(*engine, *make_sequence(*model), tokens, outputs);
    return engine->compute_bytes();
  };
  const size_t all_rows = tokens.size() * static_cast<size_t>(model->info().n_vocab) * sizeof(float);
  EXPECT_LT(bytes_of(Outputs::kLast), bytes_of(Outputs::kNone) + all_rows / 4);
}

TEST_F(WindowTest, ImpossibleSettingsAreRefused) {
  SyntheticModel description = gemma();
  description.rope_factors = true;
  EXPECT_THROW(make(description), std::runtime_error);
}

}  // namespace
}  // namespace recalld::runtime
