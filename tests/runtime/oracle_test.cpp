// The default model against libllama.
#include <gtest/gtest.h>

#include "tests/runtime/runtime_fixture.h"
#include "tests/support/expand_gguf.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::argmax;
using recalld::testing::LlamaOracle;
using recalld::testing::LogitDistance;

constexpr const char* kText =
    "The history of lighthouses begins with fires on hilltops. Later, people built towers so that the light could be "
    "seen from farther away, and keepers lived beside them to tend the lamps through the night. In the nineteenth "
    "century the French engineer Fresnel designed a lens made of rings of glass, which bent the light of a small flame "
    "into a single strong beam. Ships could then see the coast from twenty miles out at sea, and";

// Weights expanded to F32: without the rounding of activations, two engines that do the same agree closely.
TEST(Oracle, ExpandedDefaultModelAgreesAndContinuesAlike) {
  const TempFolder folder;
  const std::string path = folder.file("expanded.gguf");
  ASSERT_TRUE(recalld::testing::expand_gguf(default_model_path(), path).ok());
  const auto model = load_or_throw(path);
  const auto engine = engine_or_throw(model);
  const auto oracle = LlamaOracle::open(path, {}).value();
  const auto sequence = make_sequence(*model);
  const auto prompt = Tokenizer(model).tokenize(kText);
  const std::vector<float> expected = oracle->read(prompt, true).value();
  std::vector<float> logits = step_or_throw(*engine, *sequence, prompt);
  const LogitDistance distance = recalld::testing::logit_distance(expected, logits, model->info().n_vocab);
  EXPECT_LT(distance.kl, 1e-4);
  EXPECT_GE(distance.top1, 0.99);
  const auto n_vocab = static_cast<size_t>(model->info().n_vocab);
  int32_t ours = argmax(std::span(logits).last(n_vocab));
  int32_t theirs = argmax(std::span(expected).last(n_vocab));
  std::vector<int32_t> our_tokens;
  std::vector<int32_t> their_tokens;
  for (int i = 0; i < 64; ++i) {
    our_tokens.push_back(ours);
    their_tokens.push_back(theirs);
    ours = argmax(step_or_throw(*engine, *sequence, {&ours, 1}, Outputs::kLast));
    theirs = argmax(oracle->read({&theirs, 1}, false).value());
  }
  EXPECT_EQ(our_tokens, their_tokens);
}

// As it is, the model's 4-bit weights make ggml round activations to 8 bits, and libllama differs from itself when its
// batch size changes. Ours must not be farther from it than a small multiple of that.
TEST(Oracle, DefaultModelIsAsCloseAsLibllamaIsToItself) {
  const auto model = default_model();
  const auto engine = engine_or_throw(model);
  const auto sequence = make_sequence(*model);
  const auto prompt = Tokenizer(model).tokenize(kText);
  const auto blocks = LlamaOracle::open(default_model_path(), {}).value()->read(prompt, true).value();
  const auto singles = LlamaOracle::open(default_model_path(), {.ubatch = 1}).value()->read(prompt, true).value();
  const auto logits = step_or_throw(*engine, *sequence, prompt);
  const double floor = recalld::testing::logit_distance(blocks, singles, model->info().n_vocab).kl;
  const LogitDistance ours = recalld::testing::logit_distance(blocks, logits, model->info().n_vocab);
  EXPECT_LT(ours.kl, 2 * floor);
  EXPECT_GT(floor, 0);
}

}  // namespace
}  // namespace recalld::runtime
