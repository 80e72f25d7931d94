// Gemma 3 270M against libllama. Skipped where `scripts/deps --gemma` has not put it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/runtime/runtime_fixture.h"
#include "tests/support/expand_gguf.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::LlamaOracle;
using recalld::testing::LogitDistance;

constexpr int kTokens = 1152;  // more than two windows of 512
constexpr int kPiece = 64;     // a row of logits is a megabyte

class GemmaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("RECALLD_TEST_GEMMA");
    if (path == nullptr || !std::filesystem::exists(path)) GTEST_SKIP() << "no Gemma 3 (scripts/deps --gemma)";
    path_ = path;
  }

  // kTokens tokens of prose after the token that begins a text.
  static std::vector<int32_t> prose(const Tokenizer& tokenizer) {
    const char* source = std::getenv("RECALLD_SOURCE_DIR");
    std::ifstream in(std::string(source != nullptr ? source : ".") + "/data/sample_prose.txt");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::vector<int32_t> tokens = tokenizer.prompt_start();
    const auto words = tokenizer.tokenize(text);
    tokens.insert(tokens.end(), words.begin(), words.end());
    if (tokens.size() < kTokens) throw std::runtime_error("data/sample_prose.txt is too short");
    tokens.resize(kTokens);
    return tokens;
  }

  // Of our logits from libllama's, for every token of the prose.
  static LogitDistance distance(const std::string& path) {
    const auto model = load_or_throw(path);
    const auto engine = engine_or_throw(model);
    const auto sequence = make_sequence(*model);
    const auto oracle = LlamaOracle::open(path, {.n_ctx = 2048}).value();
    const auto tokens = prose(Tokenizer(model));
    LogitDistance sum;
    for (int at = 0; at < kTokens; at += kPiece) {
      const auto piece = std::span(tokens).subspan(static_cast<size_t>(at), kPiece);
      const auto expected = oracle->read(piece, true).value();
      const auto logits = step_or_throw(*engine, *sequence, piece);
      const LogitDistance part = recalld::testing::logit_distance(expected, logits, model->info().n_vocab);
      sum.kl += part.kl * kPiece / kTokens;
      sum.top1 += part.top1 * kPiece / kTokens;
    }
    RecordProperty("kl", std::to_string(sum.kl));
    RecordProperty("top1", std::to_string(sum.top1));
    std::printf("mean KL %.3g nats, same first choice %.4f\n", sum.kl, sum.top1);
    return sum;
  }

  TempFolder folder_;
  std::string path_;
};

TEST_F(GemmaTest, IsWhatItSays) {
  const auto model = load_or_throw(path_);
  EXPECT_EQ(model->info().architecture, "gemma3");
  EXPECT_EQ(model->info().n_ctx_train, 32768);
  const auto& layers = model->cache_shape().layers;
  ASSERT_EQ(layers.size(), 18U);
  for (size_t i = 0; i < layers.size(); ++i) {
    EXPECT_EQ(layers[i].window, i % 6 == 5 ? 0 : 512) << i;
    EXPECT_EQ(layers[i].head_dim, 256);
    EXPECT_NEAR(layers[i].rope->inv_freq[1], std::pow(i % 6 == 5 ? 1e6 : 1e4, -1.0 / 128), 1e-6) << i;
  }
  const Tokenizer tokenizer(model);
  EXPECT_EQ(tokenizer.prompt_start(), std::vector<int32_t>{2});
  const std::string text = "Anna: I baked 12 loaves,\n\nand my dog Biscuit ate one – really!\n";
  EXPECT_EQ(tokenizer.detokenize(tokenizer.tokenize(text)), text);
}

// Weights expanded to F32: without the rounding of activations, two engines that do the same agree closely.
TEST_F(GemmaTest, ExpandedModelAgrees) {
  const std::string expanded = folder_.file("expanded.gguf");
  ASSERT_TRUE(recalld::testing::expand_gguf(path_, expanded).ok());
  const LogitDistance ours = distance(expanded);
  EXPECT_LT(ours.kl, 1e-4);
  EXPECT_GE(ours.top1, 0.99);
}

}  // namespace
}  // namespace recalld::runtime
