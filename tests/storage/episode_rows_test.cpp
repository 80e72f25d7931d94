// Segments and episodes in kv.db.
#include <gmock/gmock.h>

#include <filesystem>

#include "storage/database.h"
#include "storage/kv_rows.h"
#include "storage/store_file.h"
#include "support.h"

namespace recalld::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SegmentRow segment(int64_t i) {
  SegmentRow row;
  row.first_turn = 3 * i;
  row.n_turns = 3;
  row.token_first = 100 * i;
  row.n_tokens = 100;
  if (i % 2 == 0) row.first_ms = 1'700'000'000'000 + i;
  if (i % 2 == 0) row.last_ms = 1'700'000'000'900 + i;
  row.embedding = pattern_bytes(static_cast<uint64_t>(i) + 5, 768);
  return row;
}

EpisodeRow episode(int32_t id, std::string title, std::vector<int32_t> segments) {
  EpisodeRow row;
  row.id = id;
  row.title = std::move(title);
  row.first_ms = 1'700'000'000'000;
  row.segments = std::move(segments);
  return row;
}

EpisodeUpdate update(int32_t keep, int32_t count) {
  EpisodeUpdate update;
  update.map.encoder = {0x0123456789ABCDEF, 0xFEDCBA9876543210};
  update.map.state = pattern_bytes(static_cast<uint64_t>(count), 12);
  update.keep_segments = keep;
  for (int32_t i = keep; i < keep + count; ++i) update.segments.push_back(segment(i));
  return update;
}

void expect_equal(const SegmentRow& row, const SegmentRow& expected) {
  EXPECT_EQ(row.first_turn, expected.first_turn);
  EXPECT_EQ(row.n_turns, expected.n_turns);
  EXPECT_EQ(row.token_first, expected.token_first);
  EXPECT_EQ(row.n_tokens, expected.n_tokens);
  EXPECT_EQ(row.first_ms, expected.first_ms);
  EXPECT_EQ(row.last_ms, expected.last_ms);
  EXPECT_EQ(row.embedding, expected.embedding);
}

class EpisodeRowsTest : public OpenStores {
 protected:
  Status put(const std::string& session, EpisodeUpdate change) {
    return kv().put_trunk(session, {}, {}, 0, std::move(change));
  }
  StoredEpisodes stored(const std::string& session) {
    auto found = kv().episodes(session);
    EXPECT_OK(found.status());
    EXPECT_TRUE(found.ok() && found->has_value());
    return found.ok() && found->has_value() ? **found : StoredEpisodes();
  }
  std::vector<std::string> titles(const std::string& session) {
    std::vector<std::string> out;
    for (const EpisodeRow& row : stored(session).episodes) out.push_back(row.title);
    return out;
  }
};

TEST_F(EpisodeRowsTest, WhatWasPutComesBack) {
  EXPECT_EQ(*kv().episodes("s"), std::nullopt);
  EpisodeUpdate change = update(0, 5);
  change.episodes = {episode(3, "b", {1, 4}), episode(0, "adoption, \xC3\xA9t\xC3\xA9", {0, 2, 3})};
  change.episodes[0].last_ms = 1'800'000'000'000;
  ASSERT_OK(put("s", change));
  ASSERT_OK(put("t", update(0, 0)));
  reopen();
  const StoredEpisodes all = stored("s");
  EXPECT_EQ(all.map.encoder, change.map.encoder);
  EXPECT_EQ(all.map.state, change.map.state);
  ASSERT_THAT(all.segments, SizeIs(5));
  for (size_t i = 0; i < 5; ++i) expect_equal(all.segments[i], segment(static_cast<int64_t>(i)));
  ASSERT_THAT(all.episodes, SizeIs(2));
  EXPECT_EQ(all.episodes[0].id, 0);
  EXPECT_EQ(all.episodes[0].title, "adoption, \xC3\xA9t\xC3\xA9");
  EXPECT_THAT(all.episodes[0].segments, ElementsAre(0, 2, 3));
  EXPECT_EQ(all.episodes[0].last_ms, std::nullopt);
  EXPECT_EQ(all.episodes[1].first_ms, 1'700'000'000'000);
  EXPECT_EQ(all.episodes[1].last_ms, 1'800'000'000'000);
  EXPECT_THAT(stored("t").segments, IsEmpty());
  const auto summary = kv().episode_summary("s");
  ASSERT_TRUE(summary.ok() && summary->has_value());
  EXPECT_EQ((*summary)->encoder, change.map.encoder);
  ASSERT_THAT((*summary)->segments, SizeIs(5));
  for (size_t i = 0; i < 5; ++i) {
    SegmentRow bare = segment(static_cast<int64_t>(i));
    bare.embedding.clear();
    expect_equal((*summary)->segments[i], bare);
  }
  EXPECT_THAT((*summary)->episodes, SizeIs(2));
  EXPECT_EQ(*kv().episode_summary("nobody"), std::nullopt);
  // 5 embeddings, titles of 1 and 15 bytes, 5 segment numbers, the state; and what pages and rows cost.
  EXPECT_GT(kv().bytes("s")->file, 5 * 768 + 16 + 5 * 4 + 12);
  EXPECT_LT(kv().bytes("s")->file, 5 * 1300 + 400);
  EXPECT_THAT(*kv().check(), IsEmpty());
}

TEST_F(EpisodeRowsTest, UpdatesAppendReplaceAndDelete) {
  EpisodeUpdate change = update(0, 4);
  change.episodes = {episode(0, "zero", {0, 1}), episode(1, "one", {2}), episode(2, "two", {3})};
  ASSERT_OK(put("s", change));
  change.episodes[0].title = "of t";
  ASSERT_OK(put("t", change));

  change = update(4, 2);
  change.episodes = {episode(1, "one, grown", {2, 3, 4}), episode(3, "three", {5})};
  change.gone = {2};
  ASSERT_OK(put("s", change));
  EXPECT_THAT(stored("s").segments, SizeIs(6));
  EXPECT_THAT(titles("s"), ElementsAre("zero", "one, grown", "three"));
  EXPECT_THAT(stored("s").episodes[1].segments, ElementsAre(2, 3, 4));

  // Segments from an index on are made anew; a put without episodes leaves them alone.
  change = update(3, 1);
  change.segments[0].n_tokens = 7;
  ASSERT_OK(put("s", change));
  ASSERT_OK(kv().put_trunk("s", {}, {}, 0));
  ASSERT_THAT(stored("s").segments, SizeIs(4));
  EXPECT_EQ(stored("s").segments[3].n_tokens, 7);
  EXPECT_THAT(titles("s"), SizeIs(3));

  // From 0 on everything is.
  change = update(0, 1);
  change.episodes = {episode(7, "new", {0})};
  ASSERT_OK(put("s", change));
  EXPECT_THAT(stored("s").segments, SizeIs(1));
  EXPECT_THAT(titles("s"), ElementsAre("new"));
  EXPECT_THAT(stored("t").segments, SizeIs(4));
  EXPECT_THAT(titles("t"), ElementsAre("of t", "one", "two"));
}

TEST_F(EpisodeRowsTest, ARefusedUpdateChangesNothing) {
  EpisodeUpdate change = update(0, 2);
  change.episodes = {episode(0, "kept", {0, 1})};
  ASSERT_OK(put("s", change));
  const auto refused = [&](const EpisodeUpdate& wrong) {
    return kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 100))}, 0, wrong).code();
  };
  EXPECT_EQ(refused(update(3, 1)), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused(update(-1, 1)), StatusCode::kInvalidArgument);
  change = update(2, 1);
  change.episodes = {episode(1, "a", {2}), episode(1, "b", {2})};
  EXPECT_EQ(refused(change), StatusCode::kInvalidArgument);
  change.episodes = {episode(0, "a", {2})};
  change.gone = {0};
  EXPECT_EQ(refused(change), StatusCode::kInvalidArgument);
  change.gone = {-4};
  EXPECT_EQ(refused(change), StatusCode::kInvalidArgument);
  EXPECT_EQ(kv().put_trunk("gone", {}, {}, 0, update(0, 1)).code(), StatusCode::kNotFound);
  EXPECT_EQ(*kv().episodes("gone"), std::nullopt);
  EXPECT_THAT(stored("s").segments, SizeIs(2));
  EXPECT_THAT(titles("s"), ElementsAre("kept"));
  EXPECT_THAT(*kv().chunk_list("s"), IsEmpty());
}

TEST_F(EpisodeRowsTest, DroppingTheTrunkDropsThem) {
  for (const char* session : {"s", "t"}) {
    EpisodeUpdate change = update(0, 3);
    change.episodes = {episode(0, session, {0, 1, 2})};
    ASSERT_OK(put(session, change));
  }
  ASSERT_OK(kv().drop_trunk("s"));
  EXPECT_EQ(*kv().episodes("s"), std::nullopt);
  EXPECT_EQ(kv().bytes("s")->file, 0);
  EXPECT_THAT(titles("t"), ElementsAre("t"));
  ASSERT_OK(stores_->remove_session("t"));
  EXPECT_EQ(*kv().episodes("t"), std::nullopt);
}

TEST_F(EpisodeRowsTest, AFlippedBitIsFoundAndNamed) {
  EpisodeUpdate change = update(0, 3);
  change.episodes = {episode(0, "a title to be damaged", {0, 1, 2})};
  ASSERT_OK(put("s", change));
  stores_.reset();
  const std::string file = dir_.file("kv.db");
  const std::vector<std::byte> bytes = segment(1).embedding;
  const std::string embedding(reinterpret_cast<const char*>(bytes.data()) + 100, 64);
  for (const auto& [needle, name] : {std::pair(embedding, "segment 1 of session s"),
                                     std::pair(std::string("title to be"), "episode 0 of session s")}) {
    const size_t at = read_file(file).find(needle);
    ASSERT_NE(at, std::string::npos);
    flip_bit(file, at + 3);
    reopen();
    const Status damaged = kv().episodes("s").status();
    EXPECT_EQ(damaged.code(), StatusCode::kCorrupt);
    EXPECT_THAT(damaged.message(), HasSubstr(name));
    EXPECT_THAT(*kv().check(), ElementsAre(HasSubstr(name)));
    stores_.reset();
    flip_bit(file, at + 3);
  }
  reopen();
  EXPECT_OK(kv().episodes("s").status());
}

TEST(StoredBytesTest, AreWhatTheFileGrowsBy) {
  const SystemClock clock;
  const std::string session = "0123456789abcdef";
  const auto file_of = [&](int n_chunks, size_t chunk_bytes, StoredBytes* bytes) {
    const TempDir dir;
    {
      const auto stores = Stores::open(dir.path(), clock).value();
      make_session(*stores, session);
      std::vector<std::vector<std::byte>> payloads;
      std::vector<NewChunk> chunks;
      for (int i = 0; i < n_chunks; ++i)
        payloads.push_back(pattern_bytes(7, chunk_bytes + static_cast<size_t>(i) * 37));
      for (int i = 0; i < n_chunks; ++i) {
        chunks.push_back(new_chunk(i, ChunkKind::kPages, payloads[static_cast<size_t>(i)]));
        chunks.back().resident_bytes = 5;
      }
      EXPECT_OK(stores->kv().put_trunk(session, {}, chunks, 0, update(0, n_chunks)));
      *bytes = stores->kv().bytes(session).value();
    }
    return static_cast<int64_t>(std::filesystem::file_size(dir.file("kv.db")));
  };
  StoredBytes none, some;
  const int64_t empty = file_of(0, 0, &none);
  for (const size_t chunk_bytes : {size_t{900}, size_t{30'000}, size_t{200'000}}) {
    const auto grown = static_cast<double>(file_of(60, chunk_bytes, &some) - empty);
    // Rows do not fill their tree pages.
    EXPECT_LT(static_cast<double>(some.file), grown * 1.01) << chunk_bytes;
    EXPECT_GT(static_cast<double>(some.file), grown * 0.9 - 4096) << chunk_bytes;
    EXPECT_EQ(some.resident, 300);
  }
}

TEST(EpisodeRowsMigrationTest, AFileOfVersionOneIsMadeAnew) {
  const TempDir dir;
  const SystemClock clock;
  {
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    make_session(*stores, "s");
  }
  for (const char* name : {"kv.db", "kv.db-wal", "kv.db-shm"}) std::filesystem::remove(dir.file(name));
  {
    // As the first released recalld made it.
    FileSpec spec;
    spec.path = dir.file("kv.db");
    spec.schema = Schema{kKvSchema.application_id, kKvSchema.steps.first(1)};
    spec.page_size = 65536;
    Writer writer{8, 1024};
    std::vector<std::string> notes;
    ASSERT_OK_AND_ASSIGN(const auto file, StoreFile::open(spec, {}, writer, notes));
    ASSERT_EQ(*file->writer_database().query_int("PRAGMA user_version"), 1);
    ASSERT_OK(file->write(0, [&](Database& database) -> Status {
      RECALLD_RETURN_IF_ERROR(upsert_trunk(database, "s", {}, 1));
      return database.exec("INSERT INTO payloads(pad, bytes) VALUES(zeroblob(65536), zeroblob(100000))");
    }));
    writer.stop();
  }
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
  EXPECT_THAT(stores->notes(), ElementsAre(HasSubstr("kv.db: made anew, as schema version 1 is too old")));
  EXPECT_EQ(*stores->kv().trunk("s"), std::nullopt);
  EXPECT_LT(stores->kv().file_bytes(), 100'000);
  ASSERT_OK_AND_ASSIGN(const auto database, Database::open(dir.file("kv.db"), {}));
  EXPECT_EQ(*database->query_int("PRAGMA page_size"), kKvPageSize);
  ASSERT_OK(stores->kv().put_trunk("s", {}, {}, 1, update(0, 2)));
  EXPECT_THAT((*stores->kv().episodes("s"))->segments, SizeIs(2));
  EXPECT_THAT(*stores->kv().check(), IsEmpty());
}

}  // namespace
}  // namespace recalld::storage
