// Episode maps that go through a real kv.db.
#include "episodes/episode_storage.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <random>

#include "base/clock.h"
#include "storage/stores.h"
#include "synthetic_segments.h"

namespace recalld::episodes {
namespace {

constexpr Digest128 kEncoder{17, 4};

class EpisodeStorageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "recalld-episodes-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    reopen();
    storage::SessionRow row;
    row.id = "s";
    row.principal = "local";
    ASSERT_TRUE(stores_->memory().create_session(row).ok());
  }
  void TearDown() override {
    stores_.reset();
    std::filesystem::remove_all(directory_);
  }
  void reopen() {
    stores_.reset();
    auto opened = storage::Stores::open(directory_, clock_);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    stores_ = std::move(opened).value();
  }
  void save(EpisodeMap& map) {
    const Status put = stores_->kv().put_trunk("s", {}, {}, 0, episode_update(map, kEncoder));
    ASSERT_TRUE(put.ok()) << put.to_string();
    map.mark_saved();
  }
  Result<EpisodeMap> load(const SyntheticSegments& talk, const EpisodeOptions& options) {
    RECALLD_ASSIGN_OR_RETURN(const auto stored, stores_->kv().episodes("s"));
    if (!stored) return not_found("nothing stored");
    std::vector<std::string> texts;
    for (size_t i = 0; i < stored->segments.size(); ++i) texts.push_back(talk.segments[i].text);
    return restore_episodes(options, kEncoder, talk.dim, *stored, texts);
  }

  SystemClock clock_;
  std::string directory_;
  std::unique_ptr<storage::Stores> stores_;
};

void expect_same(const EpisodeMap& a, const EpisodeMap& b) {
  ASSERT_EQ(a.n_segments(), b.n_segments());
  EXPECT_EQ(a.next_id(), b.next_id());
  ASSERT_EQ(a.episodes().size(), b.episodes().size());
  for (size_t i = 0; i < a.episodes().size(); ++i) {
    const Episode& left = a.episodes()[i];
    const Episode& right = b.episodes()[i];
    EXPECT_EQ(left.id, right.id);
    EXPECT_EQ(left.segments, right.segments);
    EXPECT_EQ(left.n_directed, right.n_directed);
    EXPECT_EQ(left.sum, right.sum);
    EXPECT_EQ(left.centroid, right.centroid);
    EXPECT_EQ(left.first_ms, right.first_ms);
    EXPECT_EQ(left.last_ms, right.last_ms);
    EXPECT_EQ(left.n_turns, right.n_turns);
    EXPECT_EQ(left.n_tokens, right.n_tokens);
    EXPECT_EQ(left.title, right.title);
  }
  for (size_t i = 0; i < a.n_segments(); ++i) {
    EXPECT_EQ(a.episode_of(i), b.episode_of(i));
    EXPECT_TRUE(std::ranges::equal(a.vectors().halves(i), b.vectors().halves(i)));
    EXPECT_EQ(a.segment(i).token_first, b.segment(i).token_first);
    EXPECT_EQ(a.segment(i).first_ms, b.segment(i).first_ms);
  }
}

TEST_F(EpisodeStorageTest, GrowingWithRestartsGivesTheSameEpisodes) {
  SyntheticSegments talk = synthetic_segments(700, 12, 32, 1.1f, 9);
  for (const size_t empty : {0, 5, 6, 300}) {
    for (size_t at = 0; at < 32; ++at) talk.units[empty * 32 + at] = 0.0f;
  }
  // Small numbers, so that all kinds of change happen often.
  EpisodeOptions options;
  options.segments_per_episode = 8;
  options.max_episodes = 20;
  EpisodeMap straight = *EpisodeMap::create(options, 32);
  EpisodeMap restarted = *EpisodeMap::create(options, 32);
  std::mt19937 random(3);
  int restarts = 0;
  for (size_t i = 0; i < talk.size(); ++i) {
    ASSERT_TRUE(straight.add(talk.segments[i], talk.unit(i)).ok());
    const Result<int32_t> id = restarted.add(talk.segments[i], talk.unit(i));
    ASSERT_TRUE(id.ok());
    if (random() % 20 == 0) save(restarted);
    if (random() % 60 != 0) continue;
    save(restarted);
    EXPECT_FALSE(restarted.has_unsaved());
    reopen();
    Result<EpisodeMap> loaded = load(talk, options);
    ASSERT_TRUE(loaded.ok()) << loaded.status().to_string();
    EXPECT_FALSE(loaded->has_unsaved());
    expect_same(*loaded, restarted);
    restarted = std::move(loaded).value();
    ++restarts;
  }
  EXPECT_GE(restarts, 3);
  EXPECT_GT(straight.next_id(), static_cast<int32_t>(straight.episodes().size()));  // there were merges
  expect_same(straight, restarted);
  save(straight);  // from its first segment on: it replaces all
  expect_same(*load(talk, options), straight);
}

TEST_F(EpisodeStorageTest, ABuiltMapReplacesTheOneBefore) {
  const SyntheticSegments talk = synthetic_segments(200, 8, 32, 0.8f, 10);
  EpisodeMap grown = *EpisodeMap::create({}, 32);
  for (size_t i = 0; i < talk.size(); ++i) ASSERT_TRUE(grown.add(talk.segments[i], talk.unit(i)).ok());
  save(grown);
  EpisodeMap built = *EpisodeMap::build({}, 32, talk.segments, talk.units);
  save(built);
  EpisodeMap loaded = *load(talk, {});
  expect_same(loaded, built);
  // And grows on as if it had not been away.
  for (size_t i = 0; i < 60; ++i) {
    ASSERT_EQ(*built.add(talk.segments[i], talk.unit(i)), *loaded.add(talk.segments[i], talk.unit(i)));
  }
  expect_same(loaded, built);
}

TEST_F(EpisodeStorageTest, AnotherEncoderAndDamageAreTold) {
  const SyntheticSegments talk = synthetic_segments(30, 3, 32, 0.5f, 11);
  EpisodeMap map = *EpisodeMap::create({}, 32);
  for (size_t i = 0; i < talk.size(); ++i) ASSERT_TRUE(map.add(talk.segments[i], talk.unit(i)).ok());
  save(map);
  const storage::StoredEpisodes good = **stores_->kv().episodes("s");
  std::vector<std::string> texts(30);
  const auto code = [&](const storage::StoredEpisodes& stored, Digest128 encoder = kEncoder, int32_t dim = 32) {
    return restore_episodes({}, encoder, dim, stored, texts).status().code();
  };
  EXPECT_EQ(code(good), StatusCode::kOk);
  EXPECT_EQ(code(good, {1, 2}), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(good, kEncoder, 64), StatusCode::kCorrupt);
  storage::StoredEpisodes bad = good;
  bad.map.state.pop_back();
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  bad = good;
  bad.segments[3].embedding.pop_back();
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  bad = good;
  bad.episodes.pop_back();
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  bad = good;
  bad.episodes[0].segments.push_back(30);
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  bad = good;
  bad.episodes[0].segments[0] = -1;
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  bad = good;
  bad.episodes.back().id = 1'000;
  EXPECT_EQ(code(bad), StatusCode::kCorrupt);
  texts.pop_back();
  EXPECT_EQ(code(good), StatusCode::kCorrupt);
}

}  // namespace
}  // namespace recalld::episodes
