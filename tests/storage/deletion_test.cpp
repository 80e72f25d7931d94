#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <random>

#include "storage/database.h"
#include "storage/kv_rows.h"
#include "support.h"

namespace recalld::storage {
namespace {

// Text and payloads of a session are its canary again and again, so that a stale piece of any of them shows.
std::string canary(int session) {
  char text[32];
  std::snprintf(text, sizeof(text), "<CANARY%06d>", session);
  return text;
}

std::string repeated(const std::string& text, size_t size) {
  std::string out;
  while (out.size() < size) out += text;
  return out;
}

NewChunk text_chunk(int32_t idx, ChunkKind kind, const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return new_chunk(idx, kind, std::vector<std::byte>(bytes, bytes + text.size()));
}

// Whose canaries are in the files, and how many. Only whole ones: where a page ends, the next bytes are another's.
std::map<int, int> canaries_in(const std::string& bytes) {
  constexpr size_t kSize = 14;
  std::map<int, int> found;
  for (size_t at = bytes.find("<CANARY"); at != std::string::npos; at = bytes.find("<CANARY", at + 1)) {
    const int session = std::atoi(bytes.substr(at + 7, 6).c_str());
    if (bytes.compare(at, kSize, canary(session)) == 0) ++found[session];
  }
  return found;
}

TrunkRow trunk_with_state(const std::string& state) {
  const auto* bytes = reinterpret_cast<const std::byte*>(state.data());
  TrunkRow trunk;
  trunk.state.assign(bytes, bytes + state.size());
  return trunk;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

class DeletionTest : public ::testing::Test {
 protected:
  // Names, too, carry the canary.
  static std::string id_of(int session) { return "s_" + canary(session); }

  void make(int session) {
    SessionRow row;
    row.id = id_of(session);
    row.principal = "local";
    row.title = "about " + canary(session);
    ASSERT_OK(stores_->memory().create_session(row).status());
    live_[session] = 0;
  }
  size_t random(size_t below) { return generator_() % below; }

  // Some segments appended or made anew, with an episode that is put again and again and one of their own.
  EpisodeUpdate episodes(int session) {
    const std::string text = canary(session);
    EpisodeUpdate update;
    update.map.state = bytes_of(repeated(text, random(300)));
    int32_t& next = segments_[session];
    if (random(5) == 0) next = static_cast<int32_t>(random(static_cast<size_t>(next) + 1));
    update.keep_segments = next;
    for (size_t i = 0; i <= random(8); ++i) {
      SegmentRow row;
      row.embedding = bytes_of(repeated(text, 1 + random(2'000)));
      update.segments.push_back(std::move(row));
      ++next;
    }
    for (const int32_t id : {0, next}) {
      if (id == 0 && next == 0) continue;
      EpisodeRow row;
      row.id = id;
      row.title = repeated(text, 1 + random(400));
      row.segments.assign(random(3'000), id);
      update.episodes.push_back(std::move(row));
    }
    if (random(3) == 0) update.gone.push_back(next + 1);
    return update;
  }

  // One of the things that happen to a session in its life.
  void live(int session) {
    const std::string id = id_of(session);
    const std::string text = canary(session);
    std::vector<TurnRow> rows;
    for (size_t i = 0; i <= random(12); ++i) rows.push_back(turn(repeated(text, 1 + random(3'000)), "user", text));
    ASSERT_OK(stores_->memory().import_turns(id, text + std::to_string(generator_()), rows).status());

    if (random(2) == 0) return;
    std::vector<NewChunk> chunks;
    int32_t& next = live_[session];
    if (random(4) == 0) next = static_cast<int32_t>(random(static_cast<size_t>(next) + 1));
    const int32_t keep = next;
    for (size_t i = 0; i < random(3); ++i) {
      chunks.push_back(text_chunk(next++, ChunkKind::kPages, repeated(text, 1 + random(200'000))));
    }
    chunks.push_back(text_chunk(next, ChunkKind::kTail, repeated(text, 1 + random(90'000))));
    const TrunkRow trunk = trunk_with_state(repeated(text, random(2'000)));
    std::optional<EpisodeUpdate> update;
    if (random(3) > 0) update = episodes(session);
    ASSERT_OK(stores_->kv().put_trunk(id, trunk, chunks, keep, update));
    if (random(10) == 0) {
      ASSERT_OK(stores_->kv().drop_trunk(id));
      next = segments_[session] = 0;
    }
  }

  TempDir dir_{true};
  SystemClock clock_;
  std::unique_ptr<Stores> stores_;
  std::mt19937 generator_{7};
  std::map<int, int32_t> live_;      // session -> next chunk index
  std::map<int, int32_t> segments_;  // session -> next segment index
};

TEST_F(DeletionTest, NothingOfADeletedSessionIsLeftInAnyFile) {
  auto opened = Stores::open(dir_.path(), clock_);
  ASSERT_OK(opened.status());
  stores_ = std::move(opened).value();
  write_file(dir_.file("kv.db.corrupt-1"), repeated(canary(0), 1000));
  int made = 0;
  for (int round = 0; round < 15; ++round) {
    while (live_.size() < 8) make(made++);
    for (int i = 0; i < 40; ++i) {
      live(std::next(live_.begin(), static_cast<long>(random(live_.size())))->first);
      if (HasFatalFailure()) return;
    }
    const int gone = std::next(live_.begin(), static_cast<long>(random(live_.size())))->first;
    ASSERT_OK(stores_->remove_session(id_of(gone)));
    live_.erase(gone);

    const std::map<int, int> found = canaries_in(read_all_files(dir_.path()));
    for (const auto& [session, times] : found) {
      EXPECT_TRUE(live_.contains(session))
          << times << " pieces of deleted session " << session << " in round " << round;
    }
    // The search itself works: the others are all found.
    for (const auto& [session, next] : live_) EXPECT_TRUE(found.contains(session)) << session;
  }
  EXPECT_THAT(*stores_->memory().check(), ::testing::IsEmpty());
  EXPECT_THAT(*stores_->kv().check(), ::testing::IsEmpty());
  stores_.reset();
  for (const auto& [session, times] : canaries_in(read_all_files(dir_.path()))) {
    EXPECT_TRUE(live_.contains(session)) << session;
  }
}

// Rows that share tree pages with many others: where SQLite moves them about.
TEST_F(DeletionTest, NothingIsLeftOfSmallRowsAmongManySessions) {
  auto opened = Stores::open(dir_.path(), clock_);
  ASSERT_OK(opened.status());
  stores_ = std::move(opened).value();
  int made = 0;
  for (int round = 0; round < 25; ++round) {
    while (live_.size() < 30) make(made++);
    for (int i = 0; i < 60; ++i) {
      const int session = std::next(live_.begin(), static_cast<long>(random(live_.size())))->first;
      const std::string text = canary(session);
      // Mostly new chunks at the end, sometimes the last ones again.
      int32_t& next = live_[session];
      if (random(4) == 0) next = std::max(0, next - 2);
      constexpr size_t kSizes[] = {300, 6'000, 40'000};
      const NewChunk chunk = text_chunk(next, ChunkKind::kPages, repeated(text, 1 + random(kSizes[random(3)])));
      const TrunkRow trunk = trunk_with_state(repeated(text, random(6'000)));
      ASSERT_OK(stores_->kv().put_trunk(id_of(session), trunk, {chunk}, next, episodes(session)));
      ++next;
    }
    const int gone = std::next(live_.begin(), static_cast<long>(random(live_.size())))->first;
    ASSERT_OK(stores_->remove_session(id_of(gone)));
    live_.erase(gone);
    for (const auto& [session, times] : canaries_in(read_all_files(dir_.path()))) {
      ASSERT_TRUE(live_.contains(session))
          << times << " pieces of deleted session " << session << " in round " << round;
    }
  }
}

// Thousands of chunks would fill the disk with payloads; rows alone show what becomes of a table.
class SmallTableDeletionTest : public DeletionTest,
                               public ::testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(SmallTableDeletionTest, NothingIsLeftInATableOfManyRows) {
  const auto [table, values] = GetParam();
  { ASSERT_OK(Stores::open(dir_.path(), clock_).status()); }
  ASSERT_OK_AND_ASSIGN(const auto database, Database::open(dir_.file("kv.db"), {}));
  ASSERT_OK(database->exec("PRAGMA secure_delete = ON"));
  const auto stale_sessions = [&] {
    EXPECT_OK(database->checkpoint_truncate());
    int stale = 0;
    for (const auto& [session, times] : canaries_in(read_all_files(dir_.path()))) stale += !live_.contains(session);
    return stale;
  };
  int made = 0;
  int stale = 0;
  // Rows of many lengths, so that pages are taken apart and put together.
  for (int round = 0; round < 200 && stale == 0; ++round) {
    while (live_.size() < 40) live_[made++] = 0;
    ASSERT_OK(database->exec("BEGIN"));
    for (int i = 0; i < 400; ++i) {
      auto& [session, next] = *std::next(live_.begin(), static_cast<long>(random(live_.size())));
      ASSERT_OK(database->exec("INSERT INTO " + std::string(table) + " VALUES('" +
                               repeated(id_of(session), 1 + random(400)) + "', " + std::to_string(next++) + values));
    }
    ASSERT_OK(database->exec("COMMIT"));
    const int gone = std::next(live_.begin(), static_cast<long>(random(live_.size())))->first;
    live_.erase(gone);
    ASSERT_OK(database->exec("DELETE FROM " + std::string(table) + " WHERE session LIKE '" + id_of(gone) + "%'"));
    stale = stale_sessions();
  }
  // SQLite does leave stale rows: the test looks at what it is about.
  EXPECT_GT(stale, 0);
  ASSERT_OK(rewrite_tables(*database));
  EXPECT_EQ(stale_sessions(), 0);
}

INSTANTIATE_TEST_SUITE_P(Tables, SmallTableDeletionTest,
                         ::testing::Values(std::pair("chunks", ", 0, 0, 0, 0, 0, 0, 0)"),
                                           std::pair("segments", ", 0, 0, 0, 0, NULL, NULL, zeroblob(768), 0)"),
                                           std::pair("episodes", ", 'title', NULL, NULL, zeroblob(100), 0)")),
                         [](const auto& info) { return info.param.first; });

TEST_F(DeletionTest, RemovingTwiceOrNothingIsNotFound) {
  auto opened = Stores::open(dir_.path(), clock_);
  ASSERT_OK(opened.status());
  stores_ = std::move(opened).value();
  make(1);
  ASSERT_OK(stores_->remove_session(id_of(1)));
  EXPECT_EQ(stores_->remove_session(id_of(1)).code(), StatusCode::kNotFound);
  EXPECT_EQ(stores_->remove_session("never").code(), StatusCode::kNotFound);
  EXPECT_OK(stores_->write_state());
}

}  // namespace
}  // namespace recalld::storage
