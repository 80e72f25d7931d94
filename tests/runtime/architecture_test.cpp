// Each family against libllama on small random models: same weights, same tokens, same logits.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "runtime/weights.h"
#include "tests/runtime/runtime_fixture.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::LlamaOracle;
using recalld::testing::LogitDistance;
using recalld::testing::SyntheticModel;

struct Case {
  std::string name;
  SyntheticModel model;
  // Both engines round keys and values to 16 bits and libllama also queries and sums (2^-11 each); quantized weights
  // add the rounding of activations to 8 bits.
  double tolerance;
};

// Seven layers: five local ones, a global one, a local one.
SyntheticModel gemma() {
  SyntheticModel model;
  model.architecture = "gemma3";
  model.n_layers = 7;
  model.n_kv_heads = 1;
  model.head_dim = 256;
  model.rope_base = 1e6F;
  model.window = 24;
  return model;
}

std::vector<Case> cases() {
  const SyntheticModel llama{};
  SyntheticModel llama_untied = llama;
  llama_untied.tied_output = false;
  llama_untied.rope_factors = true;
  SyntheticModel llama_linear = llama;
  llama_linear.rope_linear_factor = 4.0F;
  llama_linear.rope_base = 500000.0F;
  SyntheticModel llama_mha = llama;
  llama_mha.n_kv_heads = 4;
  SyntheticModel llama_f16 = llama;
  llama_f16.type = GGML_TYPE_F16;
  SyntheticModel llama_q8 = llama;
  llama_q8.type = GGML_TYPE_Q8_0;
  SyntheticModel llama_q4_0 = llama;
  llama_q4_0.type = GGML_TYPE_Q4_0;
  SyntheticModel llama_q4_1 = llama;
  llama_q4_1.type = GGML_TYPE_Q4_1;
  llama_q4_1.n_ff = 160;
  SyntheticModel qwen2 = llama;
  qwen2.architecture = "qwen2";
  qwen2.rope_base = 1e6F;
  SyntheticModel qwen2_q8 = qwen2;
  qwen2_q8.type = GGML_TYPE_Q8_0;
  SyntheticModel qwen3 = qwen2;
  qwen3.architecture = "qwen3";
  qwen3.head_dim = 32;  // n_heads * head_dim = 128, n_embd = 64
  qwen3.tied_output = false;
  SyntheticModel qwen3_wide = qwen3;
  qwen3_wide.head_dim = 128;
  qwen3_wide.n_kv_heads = 1;
  SyntheticModel qwen3_f16 = qwen3;
  qwen3_f16.type = GGML_TYPE_F16;
  SyntheticModel gemma3 = gemma();
  SyntheticModel gemma3_plain = gemma3;
  gemma3_plain.window = 0;
  SyntheticModel gemma3_keys = gemma3;
  gemma3_keys.n_layers = 4;
  gemma3_keys.window_pattern = 2;
  gemma3_keys.window_rope_base = 500.0F;
  gemma3_keys.rope_linear_factor = 8.0F;
  gemma3_keys.logit_softcap = 2.0F;
  SyntheticModel gemma3_q8 = gemma3;
  gemma3_q8.type = GGML_TYPE_Q8_0;
  constexpr double kFloat = 4e-3;
  constexpr double kQuantized = 4e-2;
  return {{"llama", llama, kFloat},
          {"llama_untied_factors", llama_untied, kFloat},
          {"llama_linear_rope", llama_linear, kFloat},
          {"llama_no_gqa", llama_mha, kFloat},
          {"llama_f16", llama_f16, kFloat},
          {"llama_q8_0", llama_q8, kQuantized},
          {"llama_q4_0", llama_q4_0, kQuantized},
          {"llama_q4_1", llama_q4_1, kQuantized},
          {"qwen2", qwen2, kFloat},
          {"qwen2_q8_0", qwen2_q8, kQuantized},
          {"qwen3", qwen3, kFloat},
          {"qwen3_head_dim_128", qwen3_wide, kFloat},
          {"qwen3_f16", qwen3_f16, kFloat},
          {"gemma3", gemma3, kFloat},
          {"gemma3_no_window", gemma3_plain, kFloat},
          {"gemma3_all_keys", gemma3_keys, kFloat},
          {"gemma3_q8_0", gemma3_q8, kQuantized}};
}

class ArchitectureTest : public SyntheticFixture, public ::testing::WithParamInterface<Case> {};

TEST_P(ArchitectureTest, LogitsEqualLibllamas) {
  const auto model = make(GetParam().model);
  const auto tokens = some_tokens(100, model->info().n_vocab);
  const auto oracle = LlamaOracle::open(path_, {.n_ctx = 512}).value();
  const std::vector<float> expected = oracle->read(tokens, true).value();
  const auto engine = engine_or_throw(model);
  const auto sequence = make_sequence(*model);
  const std::vector<float> logits = step_or_throw(*engine, *sequence, tokens);
  ASSERT_EQ(logits.size(), expected.size());
  const LogitDistance distance = recalld::testing::logit_distance(expected, logits, model->info().n_vocab);
  EXPECT_LT(distance.relative, GetParam().tolerance);
}

// The tolerance above is worth something only if a context that differs exceeds it.
TEST_P(ArchitectureTest, AnotherTextIsFarOff) {
  const auto model = make(GetParam().model);
  auto tokens = some_tokens(100, model->info().n_vocab);
  const auto oracle = LlamaOracle::open(path_, {.n_ctx = 512}).value();
  const std::vector<float> expected = oracle->read(std::span(tokens).last(50), true).value();
  const auto engine = engine_or_throw(model);
  const auto sequence = make_sequence(*model);
  std::vector<float> logits = step_or_throw(*engine, *sequence, tokens);
  logits.erase(logits.begin(), logits.end() - static_cast<ptrdiff_t>(expected.size()));
  const LogitDistance distance = recalld::testing::logit_distance(expected, logits, model->info().n_vocab);
  EXPECT_GT(distance.relative, 2 * GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(Families, ArchitectureTest, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Architectures, AreNamedInTheDocumentation) {
  std::string names = "`" + supported_architectures() + "`";
  for (size_t at = 0; (at = names.find(", ", at)) != std::string::npos; at += 4) names.replace(at, 2, "`, `");
  const char* source = std::getenv("RECALLD_SOURCE_DIR");
  for (const char* page : {"README.md", "docs/architecture.md", "docs/operations.md"}) {
    std::ifstream in(std::string(source != nullptr ? source : ".") + "/" + page);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NE(text.find(names), std::string::npos) << page << " should name " << names;
  }
}

// The rotation the cache uses to shift queries must be the one the graph uses.
TEST_F(SyntheticFixture, RopeSpecFoldsBaseScaleAndFactors) {
  SyntheticModel description;
  description.rope_factors = true;
  description.rope_linear_factor = 2.0F;
  const auto model = make(description);
  const kernels::RopeSpec& spec = *model->cache_shape().layers[1].rope;
  ASSERT_EQ(spec.n_dims, 16);
  EXPECT_FALSE(spec.neox);
  ASSERT_EQ(spec.inv_freq.size(), 8U);
  for (int i = 0; i < 8; ++i) {
    const double factor = 1.0 + 7.0 * i / 8;
    EXPECT_NEAR(spec.inv_freq[i], 0.5 * std::pow(10000.0, -i / 8.0) / factor, 1e-6) << i;
  }
  description.architecture = "qwen2";
  EXPECT_TRUE(make(description)->cache_shape().layers[0].rope->neox);
}

}  // namespace
}  // namespace recalld::runtime
