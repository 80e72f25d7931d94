#include "runtime/model_encoder.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/runtime/runtime_fixture.h"
#include "tests/support/llama_oracle.h"

namespace recalld::runtime {
namespace {

using recalld::testing::logit_distance;

// Block and single-token attention sum in different orders; everything else is the same arithmetic.
constexpr double kSameNumbers = 1e-4;

double dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

class HiddenStatesTest : public SyntheticFixture {
 protected:
  std::shared_ptr<const Model> model_ = make({.tied_output = true});
  std::unique_ptr<Engine> engine_ = engine_or_throw(model_);
  std::vector<int32_t> tokens_ = some_tokens(90, 200);

  std::vector<float> hidden(Engine& engine, std::span<const int32_t> tokens, Outputs outputs,
                            std::vector<float>* logits = nullptr) {
    const auto sequence = make_sequence(*model_);
    std::vector<float> states;
    const StepRequest request{
        .sequence = sequence.get(), .tokens = tokens, .outputs = outputs, .logits = logits, .hidden = &states};
    const Status status = engine.step({&request, 1});
    if (!status.ok()) throw std::runtime_error(status.to_string());
    EXPECT_EQ(sequence->length(), static_cast<int32_t>(tokens.size()));
    return states;
  }
};

// The output matrix of a model with tied embeddings is in its file: logits are states times it.
TEST_F(HiddenStatesTest, AreWhatTheLogitsAreMadeOf) {
  const auto n_embd = static_cast<size_t>(model_->info().n_embd);
  const auto n_vocab = static_cast<size_t>(model_->info().n_vocab);
  std::vector<float> logits;
  const std::vector<float> states = hidden(*engine_, tokens_, Outputs::kAll, &logits);
  ASSERT_EQ(states.size(), tokens_.size() * n_embd);
  ASSERT_EQ(logits.size(), tokens_.size() * n_vocab);
  const auto file = GgufFile::open(path_).value();
  const std::span matrix(reinterpret_cast<const float*>(file->find_tensor("token_embd.weight")->data.data()),
                         n_embd * n_vocab);
  std::vector<float> product;
  for (size_t row = 0; row < tokens_.size(); ++row) {
    for (size_t token = 0; token < n_vocab; ++token) {
      product.push_back(static_cast<float>(
          dot(std::span(states).subspan(row * n_embd, n_embd), matrix.subspan(token * n_embd, n_embd))));
    }
  }
  EXPECT_LT(logit_distance(logits, product, model_->info().n_vocab).relative, 1e-5);
}

TEST_F(HiddenStatesTest, DoNotDependOnWhatElseIsWanted) {
  const auto n_embd = static_cast<ptrdiff_t>(model_->info().n_embd);
  std::vector<float> logits;
  const std::vector<float> both = hidden(*engine_, tokens_, Outputs::kAll, &logits);
  const std::vector<float> alone = hidden(*engine_, tokens_, Outputs::kAll);
  EXPECT_LT(logit_distance(both, alone, model_->info().n_embd).relative, kSameNumbers);
  const std::vector<float> last = hidden(*engine_, tokens_, Outputs::kLast);
  ASSERT_EQ(last.size(), static_cast<size_t>(n_embd));
  EXPECT_LT(logit_distance({both.end() - n_embd, both.end()}, last, model_->info().n_embd).relative, kSameNumbers);
  EXPECT_TRUE(hidden(*engine_, tokens_, Outputs::kNone).empty());
  const auto small = engine_or_throw(model_, {.ubatch = 7});
  EXPECT_LT(logit_distance(both, hidden(*small, tokens_, Outputs::kAll), model_->info().n_embd).relative, kSameNumbers);
}

TEST_F(HiddenStatesTest, RequestsOfOneStepGetTheirOwn) {
  const auto other = some_tokens(33, 200, 3);
  const std::vector<float> expected = hidden(*engine_, tokens_, Outputs::kAll);
  const auto a = make_sequence(*model_);
  const auto b = make_sequence(*model_);
  const auto alone = make_sequence(*model_);
  const std::vector<float> other_logits = step_or_throw(*engine_, *alone, other, Outputs::kLast);
  std::vector<float> states;
  std::vector<float> logits;
  const std::vector<StepRequest> requests = {
      {.sequence = b.get(), .tokens = other, .outputs = Outputs::kLast, .logits = &logits},
      {.sequence = a.get(), .tokens = tokens_, .outputs = Outputs::kAll, .hidden = &states}};
  ASSERT_TRUE(engine_->step(requests).ok());
  ASSERT_EQ(states.size(), expected.size());
  EXPECT_LT(logit_distance(expected, states, model_->info().n_embd).relative, kSameNumbers);
  ASSERT_EQ(logits.size(), other_logits.size());
  EXPECT_LT(logit_distance(other_logits, logits, model_->info().n_vocab).relative, kSameNumbers);
}

class ModelEncoderTest : public ::testing::Test {
 protected:
  std::vector<float> embed(std::string_view text) {
    auto vector = encoder_->embed(text);
    if (!vector.ok()) throw std::runtime_error(vector.status().to_string());
    return std::move(vector).value();
  }

  std::shared_ptr<const Model> model_ = default_model();
  std::unique_ptr<Engine> engine_ = engine_or_throw(model_);
  Tokenizer tokenizer_{model_};
  std::shared_ptr<cache::MemoryPool> pool_ = cache::MemoryPool::create(0);
  std::unique_ptr<TextEncoder> encoder_ = make_model_encoder(*engine_, tokenizer_, pool_);
};

TEST_F(ModelEncoderTest, UnitVectorsThatStayTheSame) {
  EXPECT_EQ(encoder_->dim(), model_->info().n_embd);
  EXPECT_NE(encoder_->name().find("(own states)"), std::string::npos);
  const std::string text = "My dog is called Biscuit.";
  const std::vector<float> vector = embed(text);
  ASSERT_EQ(vector.size(), static_cast<size_t>(encoder_->dim()));
  EXPECT_NEAR(dot(vector, vector), 1.0, 1e-5);
  EXPECT_NEAR(dot(embed("x"), embed("x")), 1.0, 1e-5);
  EXPECT_EQ(embed(text), vector);
  EXPECT_EQ(embed(""), std::vector<float>(vector.size(), 0.0F));
  EXPECT_EQ(make_model_encoder(*engine_, tokenizer_)->fingerprint(), encoder_->fingerprint());
}

TEST_F(ModelEncoderTest, CutsAtTheWindow) {
  const auto engine = engine_or_throw(model_, {.context = 40});
  const auto encoder = make_model_encoder(*engine, tokenizer_);
  std::string full;
  while (tokenizer_.tokenize(full).size() < 40) full += " dog";
  EXPECT_EQ(encoder->embed(full + " piano boat").value(), encoder->embed(full).value());
  EXPECT_NE(encoder->fingerprint(), encoder_->fingerprint());
}

TEST_F(ModelEncoderTest, LeavesSequencesAndMemoryAlone) {
  const std::vector<int32_t> tokens = tokenizer_.tokenize("The landlord has not fixed the heating.");
  const auto front = std::span(tokens).first(tokens.size() / 2);
  const auto rest = std::span(tokens).subspan(front.size());
  const auto undisturbed = make_sequence(*model_);
  step_or_throw(*engine_, *undisturbed, front, Outputs::kNone);
  const std::vector<float> expected = step_or_throw(*engine_, *undisturbed, rest, Outputs::kLast);
  const auto sequence = make_sequence(*model_);
  step_or_throw(*engine_, *sequence, front, Outputs::kNone);
  embed("Something else.");
  EXPECT_EQ(sequence->length(), static_cast<int32_t>(front.size()));
  EXPECT_EQ(step_or_throw(*engine_, *sequence, rest, Outputs::kLast), expected);
  EXPECT_EQ(pool_->used(), 0U);
  EXPECT_GT(pool_->peak(), 0U);
}

TEST_F(ModelEncoderTest, TheMemoryLimitHolds) {
  const auto tight = make_model_encoder(*engine_, tokenizer_, cache::MemoryPool::create(1000));
  EXPECT_EQ(tight->embed("My dog is called Biscuit.").status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace recalld::runtime
