// The index and the episodes of one session, with an encoder that needs no model.
#include "daemon/session_recall.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "episodes/segmenter.h"
#include "episodes/unit_vectors.h"
#include "retrieval/words.h"

namespace recalld::daemon {
namespace {

// A text's words thrown into buckets.
class WordEncoder final : public runtime::TextEncoder {
 public:
  explicit WordEncoder(uint64_t seed = 1) : seed_(seed) {}
  const std::string& name() const override { return name_; }
  int32_t dim() const override { return 64; }
  Digest128 fingerprint() const override { return {seed_, 0}; }
  Result<std::vector<float>> embed(std::string_view text) override {
    ++calls;
    if (after_call) after_call();
    std::vector<float> vector(64, 0.0F);
    for (const retrieval::Word& word : retrieval::split_words(text)) {
      Digester digester;
      digester.add(seed_);
      digester.add(std::string_view(word.lower));
      vector[digester.finish().low % 64] += 1;
    }
    episodes::normalize(vector);
    return vector;
  }

  int calls = 0;
  std::function<void()> after_call;

 private:
  uint64_t seed_;
  std::string name_ = "words";
};

std::vector<episodes::TurnText> talk(int n) {
  static constexpr const char* kSubjects[] = {"the beagle and her vet", "clay bowls in the kiln", "rowing on the river",
                                              "timber roofs", "the telescope on the hill"};
  std::vector<episodes::TurnText> turns;
  for (int i = 0; i < n; ++i)
    turns.push_back({i % 2 == 0 ? "user" : "assistant", i % 2 == 0 ? "Ann" : "Ben",
                     "We talked of " + std::string(kSubjects[i / 10 % 5]) + ". Then number " + std::to_string(i) +
                         " came up again.",
                     1'700'000'000'000 + i * 60'000});
  return turns;
}

class SessionRecallTest : public ::testing::Test {
 protected:
  struct Session {
    std::unique_ptr<SessionRecall> recall;
    episodes::Segmenter segmenter{episodes::SegmenterOptions{}};
    void read(std::span<const episodes::TurnText> turns) {
      for (const episodes::TurnText& turn : turns) {
        segmenter.push(turn, 24);
        recall->announce(turn);
      }
      EXPECT_TRUE(recall->extend(segmenter.segments(), segmenter.n_closed()).ok());
    }
    void learn() {
      while (recall->n_pending() > 0) ASSERT_TRUE(recall->learn(segmenter.segments(), kGoOn).ok());
    }
  };
  Session session() { return {SessionRecall::create(encoder_).value()}; }
  // What a question gets, and everything that is known of the episodes.
  static std::string state(Session& session, const std::string& question) {
    const retrieval::Ranking ranking = session.recall->rank({question, std::nullopt}).value();
    std::string text = std::to_string(ranking.margin);
    for (const retrieval::RankedSegment& ranked : ranking.segments)
      text += " " + std::to_string(ranked.segment) + "=" + std::to_string(ranked.score) + "@" +
              std::to_string(ranked.episode.value_or(-1));
    MemoryInfo info;
    session.recall->describe(&info);
    for (const EpisodeInfo& episode : info.episodes)
      text += "\n" + std::to_string(episode.id) + " " + episode.title + " " + std::to_string(episode.segments);
    return text;
  }
  static storage::StoredEpisodes stored(const std::vector<storage::EpisodeUpdate>& updates) {
    storage::StoredEpisodes all;
    std::map<int32_t, storage::EpisodeRow> episodes;
    for (const storage::EpisodeUpdate& update : updates) {
      all.map = update.map;
      EXPECT_EQ(update.keep_segments, std::ssize(all.segments));
      all.segments.insert(all.segments.end(), update.segments.begin(), update.segments.end());
      for (const auto& row : update.episodes) episodes[row.id] = row;
      for (const int32_t id : update.gone) episodes.erase(id);
    }
    for (const auto& [id, row] : episodes) all.episodes.push_back(row);
    return all;
  }

  inline static const std::atomic<bool> kGoOn{false};
  WordEncoder encoder_;
};

constexpr const char* kQuestion = "Which vet did the beagle see?";

TEST_F(SessionRecallTest, SegmentsAreFoundByWordsBeforeTheyAreEmbedded) {
  Session early = session();
  early.read(talk(40));
  EXPECT_EQ(early.recall->size(), 40U);
  EXPECT_EQ(early.recall->n_pending(), 40U);
  EXPECT_FALSE(early.recall->has_unsaved());
  const retrieval::Ranking ranking = early.recall->rank({kQuestion, std::nullopt}).value();
  EXPECT_EQ(encoder_.calls, 0) << "there is nothing to compare the question with";
  EXPECT_LT(ranking.segments.front().segment, 5U);
  EXPECT_EQ(ranking.segments.front().signals.dense, 0);
  EXPECT_THAT(ranking.segments.front().words, ::testing::Contains("beagle"));
  early.learn();
  EXPECT_NE(early.recall->rank({kQuestion, std::nullopt}).value().segments.front().signals.dense, 0);
}

TEST_F(SessionRecallTest, WhenItIsEmbeddedDoesNotMatter) {
  const auto turns = talk(400);
  Session at_once = session(), bit_by_bit = session();
  at_once.read(turns);
  at_once.learn();
  for (size_t i = 0; i < turns.size(); i += 7) {
    bit_by_bit.read(std::span(turns).subspan(i, std::min<size_t>(7, turns.size() - i)));
    if (i % 3 != 0) continue;
    ASSERT_TRUE(bit_by_bit.recall->learn(bit_by_bit.segmenter.segments(), kGoOn).ok());
  }
  bit_by_bit.learn();
  EXPECT_EQ(state(at_once, kQuestion), state(bit_by_bit, kQuestion));
}

TEST_F(SessionRecallTest, WhatWasStoredComesBackAndGrowsOn) {
  const auto turns = talk(300);
  Session straight = session(), restarted = session();
  std::vector<storage::EpisodeUpdate> updates;
  for (size_t i = 0; i < turns.size(); i += 30) {
    const auto part = std::span(turns).subspan(i, 30);
    straight.read(part);
    straight.learn();
    restarted.read(part);
    ASSERT_TRUE(restarted.recall->learn(restarted.segmenter.segments(), kGoOn).ok());
    EXPECT_GT(restarted.recall->n_pending(), 0U) << "one step learns a little only";
    updates.push_back(restarted.recall->update());
    restarted.recall->mark_saved();
    EXPECT_FALSE(restarted.recall->has_unsaved());
    Session again = session();
    again.read(std::span(turns).first(i + 30));
    ASSERT_TRUE(again.recall->restore(stored(updates), again.segmenter.segments()).ok());
    EXPECT_EQ(again.recall->n_pending(), restarted.recall->n_pending());
    EXPECT_EQ(state(again, kQuestion), state(restarted, kQuestion));
    again.learn();
    updates.push_back(again.recall->update());
    again.recall->mark_saved();
    restarted = std::move(again);
  }
  EXPECT_EQ(state(restarted, kQuestion), state(straight, kQuestion));
}

TEST_F(SessionRecallTest, WhatDoesNotFitIsMadeAnew) {
  Session first = session();
  first.read(talk(60));
  first.learn();
  const storage::StoredEpisodes good = stored({first.recall->update()});
  const auto refused = [&](const storage::StoredEpisodes& rows, runtime::TextEncoder& encoder, StatusCode code) {
    Session other{SessionRecall::create(encoder).value()};
    other.read(talk(60));
    EXPECT_EQ(other.recall->restore(rows, other.segmenter.segments()).code(), code);
    EXPECT_EQ(other.recall->n_pending(), other.recall->size());
    EXPECT_FALSE(other.recall->has_unsaved());
    other.learn();
    EXPECT_EQ(other.recall->update().keep_segments, 0) << "what is stored is replaced";
    return state(other, kQuestion);
  };
  WordEncoder exchanged(2);
  EXPECT_NE(refused(good, exchanged, StatusCode::kFailedPrecondition), state(first, kQuestion));
  storage::StoredEpisodes bad = good;
  bad.segments[3].embedding.resize(bad.segments[3].embedding.size() - 2);
  EXPECT_EQ(refused(bad, encoder_, StatusCode::kCorrupt), state(first, kQuestion));
  bad = good;
  bad.segments[3].n_tokens += 1;
  EXPECT_EQ(refused(bad, encoder_, StatusCode::kCorrupt), state(first, kQuestion));
  bad = good;
  bad.segments.push_back(bad.segments.back());
  EXPECT_EQ(refused(bad, encoder_, StatusCode::kCorrupt), state(first, kQuestion));
}

TEST_F(SessionRecallTest, LearningStopsWhenAskedToAndGoesOnWhereItWas) {
  Session stopped = session(), straight = session();
  const auto turns = talk(20);
  straight.read(turns);
  straight.learn();
  const int64_t texts = straight.recall->texts_embedded();
  stopped.read(turns);
  std::atomic<bool> cancel{false};
  encoder_.after_call = [&] { cancel = true; };
  for (int64_t i = 1; i <= texts; ++i) {
    cancel = false;
    ASSERT_TRUE(stopped.recall->learn(stopped.segmenter.segments(), cancel).ok());
    EXPECT_EQ(stopped.recall->texts_embedded(), i) << "one text, then it gave way";
  }
  cancel = false;
  ASSERT_TRUE(stopped.recall->learn(stopped.segmenter.segments(), cancel).ok());
  encoder_.after_call = nullptr;
  EXPECT_EQ(stopped.recall->n_pending(), 0U);
  EXPECT_EQ(state(stopped, kQuestion), state(straight, kQuestion));
}

TEST_F(SessionRecallTest, ALongTurnIsFoundPartByPart) {
  Session session = this->session();
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "Line " + std::to_string(i) + (i == 150 ? " hides a pomegranate.\n" : " is dull.\n");
  const episodes::TurnText turn{"user", "", text, std::nullopt};
  session.segmenter.push(turn, 2000);
  session.recall->announce(turn);
  ASSERT_TRUE(session.recall->extend(session.segmenter.segments(), session.segmenter.n_closed()).ok());
  EXPECT_EQ(session.recall->size(), 8U);
  session.learn();
  const size_t best =
      session.recall->rank({"Where is the pomegranate?", std::nullopt}).value().segments.front().segment;
  EXPECT_NE(session.segmenter.segments()[best].text.find("pomegranate"), std::string::npos);
}

// Turn 5,000 costs what turn 100 does: texts embedded, and rows and bytes written.
TEST_F(SessionRecallTest, TheWorkForATurnDoesNotGrowWithTheSession) {
  const auto turns = talk(5000);
  Session session = this->session();
  struct Work {
    double texts = 0, products = 0, segments = 0, bytes = 0;
  };
  const auto cost = [&](size_t first, size_t n) {
    Work work;
    const int64_t texts = session.recall->texts_embedded(), products = session.recall->dot_products();
    for (size_t i = first; i < first + n; ++i) {
      session.read(std::span(turns).subspan(i, 1));
      session.learn();
      if (!session.recall->has_unsaved()) continue;
      const storage::EpisodeUpdate update = session.recall->update();
      work.segments += static_cast<double>(update.segments.size());
      for (const auto& row : update.segments) work.bytes += static_cast<double>(row.embedding.size());
      session.recall->mark_saved();
    }
    work.texts = static_cast<double>(session.recall->texts_embedded() - texts);
    work.products = static_cast<double>(session.recall->dot_products() - products);
    return work;
  };
  cost(0, 80);
  const Work early = cost(80, 40);
  cost(120, 4860);
  const Work late = cost(4960, 40);
  EXPECT_EQ(late.texts, early.texts);
  EXPECT_EQ(late.segments, early.segments);
  EXPECT_EQ(late.bytes, early.bytes);
  // Episodes: at most 64 centroids and a split now and then (episode_map_test); nothing beside an embedding.
  EXPECT_LT(late.products / late.segments, 264);
}

}  // namespace
}  // namespace recalld::daemon
