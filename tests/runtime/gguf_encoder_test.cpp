#include "runtime/gguf_encoder.h"

#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <numeric>
#include <sstream>

#include "runtime/gguf_file.h"
#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

using ::testing::HasSubstr;

std::string encoder_path() {
  const char* path = std::getenv("RECALLD_TEST_ENCODER");
  return path != nullptr ? path : "";
}

std::unique_ptr<TextEncoder> encoder_or_throw() {
  auto encoder = open_gguf_encoder(encoder_path());
  if (!encoder.ok()) throw std::runtime_error("RECALLD_TEST_ENCODER: " + encoder.status().to_string());
  return std::move(encoder).value();
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Vectors from the published weights, made by an independent implementation (encoder_reference.py).
boost::json::array reference_texts() {
  const char* source = std::getenv("RECALLD_SOURCE_DIR");
  std::ifstream in(std::string(source != nullptr ? source : ".") + "/tests/runtime/encoder_reference.json");
  std::stringstream text;
  text << in.rdbuf();
  return boost::json::parse(text.str()).at("texts").as_array();
}

class GgufEncoderTest : public ::testing::Test {
 protected:
  std::vector<float> embed(std::string_view text) {
    auto vector = encoder_->embed(text);
    if (!vector.ok()) throw std::runtime_error(vector.status().to_string());
    return std::move(vector).value();
  }

  std::unique_ptr<TextEncoder> encoder_ = encoder_or_throw();
};

TEST_F(GgufEncoderTest, MatchesTheReferenceOfThePublishedWeights) {
  EXPECT_EQ(encoder_->name(), "all-MiniLM-L6-v2");
  ASSERT_EQ(encoder_->dim(), 384);
  const auto texts = reference_texts();
  ASSERT_GE(texts.size(), 8U);
  for (const auto& entry : texts) {
    const auto expected = boost::json::value_to<std::vector<float>>(entry.at("vector"));
    const std::vector<float> vector = embed(entry.at("text").as_string());
    ASSERT_EQ(vector.size(), expected.size());
    const double cosine = dot(vector, expected);
    EXPECT_GE(cosine, 0.999) << entry.at("name");
    EXPECT_NEAR(dot(vector, vector), 1.0, 1e-5) << entry.at("name");
    RecordProperty("cosine of " + std::string(entry.at("name").as_string()), std::to_string(cosine));
  }
}

TEST_F(GgufEncoderTest, TextsWithoutTokensGiveZeros) {
  for (const std::string_view text : {"", " ", "\n\t \r\n", "\xE2\x80\x83"}) {
    EXPECT_EQ(embed(text), std::vector<float>(384, 0.0F)) << '"' << text << '"';
  }
}

TEST_F(GgufEncoderTest, CutsAtTheWindow) {
  // Each word is one piece; 254 of them and two special tokens fill the window.
  std::string full;
  for (int i = 0; i < 254; ++i) full += i % 2 == 0 ? "dog " : "house ";
  const std::vector<float> expected = embed(full);
  EXPECT_EQ(embed(full + "piano"), expected);
  EXPECT_EQ(embed(full + std::string(100'000, 'x') + " boat"), expected);
  EXPECT_NE(embed(full.substr(0, full.size() - 6) + "piano"), expected);
}

TEST_F(GgufEncoderTest, SameTextSameVector) {
  const std::string text = "The heating in Lisbon is still broken.";
  const std::vector<float> vector = embed(text);
  embed("Something else, longer than the text before and after it, so that graphs change.");
  EXPECT_EQ(embed(text), vector);
  const auto second = encoder_or_throw();
  EXPECT_EQ(second->embed(text).value(), vector);
  EXPECT_EQ(second->fingerprint(), encoder_->fingerprint());
}

TEST_F(GgufEncoderTest, AnyBytesAreATextOfSomeKind) {
  const std::string_view nul("a\0b", 3);
  for (const std::string_view text :
       {std::string_view("\xFF\xFE\x80 broken \xC3"), nul, std::string_view("한국어 हिन्दी 👩‍👧"),
        std::string_view("[CLS] [SEP] [UNK] [PAD]"), std::string_view("\x7F\x01 .")}) {
    EXPECT_NEAR(dot(embed(text), embed(text)), 1.0, 1e-5) << text;
  }
}

TEST_F(GgufEncoderTest, SpecialTokensInATextArePlainCharacters) {
  EXPECT_NE(embed("my dog [SEP] your cat"), embed("my dog [MASK] your cat"));
  EXPECT_EQ(embed("[SEP]"), embed("[ sep ]"));
}

TEST_F(GgufEncoderTest, WhatIsAlikePointsTheSameWay) {
  const auto question = embed("What is my dog called?");
  EXPECT_GT(dot(question, embed("Biscuit is the name of my dog.")),
            dot(question, embed("The landlord has not fixed the heating.")) + 0.2);
}

TEST_F(GgufEncoderTest, TwoThreadsGiveTheSameDirection) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ggml's barriers are not instrumented: TSan cannot see that they order the threads";
#endif
  const auto two = open_gguf_encoder(encoder_path(), 2).value();
  const std::string text = "Sorry for the late answer! We got back from Lisbon on 14 March.";
  EXPECT_GT(dot(two->embed(text).value(), embed(text)), 0.99999);
  EXPECT_EQ(two->fingerprint(), encoder_->fingerprint());
}

Status open_status(const std::string& path, int threads = 1) { return open_gguf_encoder(path, threads).status(); }

TEST(GgufEncoderFile, OtherFilesAreRefused) {
  const TempFolder folder;
  EXPECT_EQ(open_status(folder.file("missing.gguf")).code(), StatusCode::kNotFound);
  std::ofstream(folder.file("text.gguf")) << "not a model";
  EXPECT_EQ(open_status(folder.file("text.gguf")).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open_status(encoder_path(), 0).code(), StatusCode::kInvalidArgument);
  const Status chat = open_status(default_model_path());
  EXPECT_EQ(chat.code(), StatusCode::kUnsupported);
  EXPECT_THAT(chat.message(), HasSubstr("not an embedding model"));
}

// The encoder's file with one key changed, weights and all.
std::string with_key(const TempFolder& folder, const std::string& key, uint32_t value) {
  std::filesystem::copy_file(encoder_path(), folder.file("changed.gguf"),
                             std::filesystem::copy_options::overwrite_existing);
  const auto file = GgufFile::open(encoder_path()).value();
  const auto at = file->find(key)->bytes.data() - file->bytes().data();
  std::fstream out(folder.file("changed.gguf"), std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(at).write(reinterpret_cast<const char*>(&value), sizeof(value));
  return folder.file("changed.gguf");
}

TEST(GgufEncoderFile, KindsOfPoolingThatGiveNoVectorAreRefused) {
  const TempFolder folder;
  EXPECT_THAT(open_status(with_key(folder, "bert.pooling_type", 0)).message(), HasSubstr("each token"));
  EXPECT_THAT(open_status(with_key(folder, "bert.pooling_type", 4)).message(), HasSubstr("ranks pairs"));
  EXPECT_EQ(open_status(with_key(folder, "bert.pooling_type", 77)).code(), StatusCode::kUnsupported);
  const auto first = open_gguf_encoder(with_key(folder, "bert.pooling_type", 2));
  ASSERT_TRUE(first.ok()) << first.status().to_string();
  const auto mean = encoder_or_throw();
  EXPECT_LT(dot((*first)->embed("a dog").value(), mean->embed("a dog").value()), 0.99);
  EXPECT_NE((*first)->fingerprint(), mean->fingerprint());
}

TEST(GgufEncoderFile, ContradictionsAreRefused) {
  const TempFolder folder;
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, uint32_t>>{{"bert.block_count", 0},
                                                     {"bert.block_count", 5},
                                                     {"bert.block_count", 100'000},
                                                     {"bert.attention.head_count", 0},
                                                     {"bert.attention.head_count", 13},
                                                     {"bert.context_length", 1},
                                                     {"bert.context_length", 300},
                                                     {"bert.embedding_length", 385},
                                                     {"bert.feed_forward_length", 0},
                                                     {"tokenizer.ggml.token_type_count", 0},
                                                     {"bert.attention.layer_norm_epsilon", 0xBF800000}}) {
    EXPECT_FALSE(open_status(with_key(folder, key, value)).ok()) << key << " = " << value;
  }
}

}  // namespace
}  // namespace recalld::runtime
