#include "episodes/segment_vectors.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/bytes.h"

namespace recalld::episodes {
namespace {

using ::testing::ElementsAre;

// A vector of the text's length and its first two bytes.
class LengthEncoder final : public runtime::TextEncoder {
 public:
  const std::string& name() const override { return name_; }
  int32_t dim() const override { return 3; }
  Digest128 fingerprint() const override { return {}; }
  Result<std::vector<float>> embed(std::string_view text) override {
    if (fails) return internal_error("no");
    texts.emplace_back(text);
    if (text.empty()) return std::vector<float>(3, 0.0F);
    std::vector<float> vector{static_cast<float>(text.size()), static_cast<float>(text[0]), 1.0F};
    const float norm = std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] + 1.0F);
    for (float& value : vector) value /= norm;
    return vector;
  }

  std::vector<std::string> texts;
  bool fails = false;

 private:
  std::string name_ = "length";
};

std::vector<retrieval::SegmentTurn> embedded(std::vector<retrieval::SegmentTurn> turns, LengthEncoder& encoder) {
  SegmentEmbedder embedder(std::move(turns));
  while (!embedder.done()) EXPECT_TRUE(embedder.step(encoder).ok());
  return embedder.take();
}

TEST(SegmentVectors, TurnsAreEmbeddedWithTheirSpeakerAndSentencesWithout) {
  LengthEncoder encoder;
  const auto turns = embedded({{"Ann", "I am here. Are you there?", {}, {}}, {"", "Only this one.", {}, {}}}, encoder);
  EXPECT_THAT(encoder.texts,
              ElementsAre("Ann: I am here. Are you there?", "I am here.", "Are you there?", "Only this one."));
  EXPECT_EQ(turns[0].sentences.size(), 2U);
  ASSERT_EQ(turns[1].sentences.size(), 1U);
  EXPECT_EQ(turns[1].sentences[0], turns[1].vector) << "the same text is not embedded twice";
  for (const float value : turns[0].vector) EXPECT_EQ(value, half_to_float(float_to_half(value)));
}

TEST(SegmentVectors, AFailedTextIsEmbeddedLater) {
  LengthEncoder encoder;
  SegmentEmbedder embedder({{"Ann", "Here I am.", {}, {}}});
  EXPECT_EQ(embedder.next_bytes(), 13U);
  encoder.fails = true;
  EXPECT_FALSE(embedder.step(encoder).ok());
  encoder.fails = false;
  ASSERT_TRUE(embedder.step(encoder).ok());
  EXPECT_EQ(embedder.next_bytes(), 10U);
  encoder.fails = true;
  EXPECT_FALSE(embedder.step(encoder).ok());
  encoder.fails = false;
  ASSERT_TRUE(embedder.step(encoder).ok());
  EXPECT_TRUE(embedder.done());
  EXPECT_EQ(embedder.take()[0].sentences.size(), 1U);
}

TEST(SegmentVectors, TheSegmentPointsWhereItsTurnsDo) {
  EXPECT_THAT(segment_vector({}, 2), ElementsAre(0, 0));
  const std::vector<retrieval::SegmentTurn> turns{{"", "", {1, 0}, {}}, {"", "", {0, 1}, {}}, {"", "", {0, 0}, {}}};
  EXPECT_THAT(segment_vector(turns, 2), ElementsAre(std::sqrt(0.5F), std::sqrt(0.5F)));
}

TEST(SegmentVectors, PackedAndUnpackedTheyAreTheSame) {
  LengthEncoder encoder;
  const auto turns = embedded({{"Ann", "One two. Three four. Five six!", {}, {}}, {"Ben", "", {}, {}}}, encoder);
  const std::vector<std::byte> bytes = pack_vectors(turns);
  EXPECT_EQ(bytes.size(), 3 * 4 + 5 * 3 * 2U);
  const auto back = unpack_vectors(bytes, 3).value();
  ASSERT_EQ(back.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back[i].vector, turns[i].vector);
    EXPECT_EQ(back[i].sentences, turns[i].sentences);
  }
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_EQ(unpack_vectors(std::span(bytes).first(length), 3).status().code(), StatusCode::kCorrupt) << length;
  EXPECT_EQ(unpack_vectors(bytes, 4).status().code(), StatusCode::kCorrupt);
  std::vector<std::byte> many = bytes;
  many[3] = std::byte{0xFF};
  EXPECT_EQ(unpack_vectors(many, 3).status().code(), StatusCode::kCorrupt);
}

TEST(SegmentVectors, APartOfACutTurnHasItsOwnText) {
  const std::vector<TurnText> turns{{"user", "", "the first part, the second part", std::nullopt}};
  retrieval::Segment part;
  part.n_turns = 1;
  part.text = "user: the second part";
  const auto found = segment_turns(part, turns);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].speaker, "") << "a role is no name";
  EXPECT_EQ(found[0].text, "the second part");
}

}  // namespace
}  // namespace recalld::episodes
