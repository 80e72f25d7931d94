#include "storage/memory_store.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "storage/database.h"
#include "support.h"

namespace recalld::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MemoryStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    stores_.reset();
    auto opened = Stores::open(dir_.path(), clock_);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    stores_ = std::move(opened).value();
  }
  MemoryStore& memory() { return stores_->memory(); }

  TempDir dir_;
  ManualClock clock_{1'700'000'000'000};
  std::unique_ptr<Stores> stores_;
};

TEST_F(MemoryStoreTest, SessionsBelongToTheirPrincipal) {
  SessionRow row{"s_a", "alice", "Trip \xC3\xA0 Paris", "plain"};
  ASSERT_OK_AND_ASSIGN(const SessionRow made, memory().create_session(row));
  EXPECT_EQ(made.created_ms, 1'700'000'000'000);
  EXPECT_EQ(memory().create_session({"s_a", "bob", "", ""}).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(memory().create_session({"", "bob", "", ""}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(memory().create_session({"s_x", "", "", ""}).status().code(), StatusCode::kInvalidArgument);
  clock_.advance_ms(10);
  ASSERT_OK(memory().create_session({"s_b", "alice", "", "template"}).status());
  ASSERT_OK(memory().create_session({"s_c", "bob", "", "template"}).status());

  EXPECT_EQ(memory().session("bob", "s_a").status().code(), StatusCode::kNotFound);
  reopen();
  ASSERT_OK_AND_ASSIGN(const SessionRow found, memory().session("alice", "s_a"));
  EXPECT_EQ(found.title, row.title);
  EXPECT_EQ(found.style, "plain");
  EXPECT_EQ(found.turns, 0);

  clock_.advance_ms(10);
  ASSERT_OK(memory().append_turns("s_a", {turn("hello"), turn("hi")}).status());
  ASSERT_OK_AND_ASSIGN(const auto sessions, memory().sessions("alice"));
  ASSERT_THAT(sessions, SizeIs(2));
  EXPECT_EQ(sessions[0].id, "s_a");  // updated last
  EXPECT_EQ(sessions[0].turns, 2);
  EXPECT_EQ(sessions[0].updated_ms, clock_.now_ms());
  EXPECT_EQ(sessions[1].id, "s_b");
  EXPECT_THAT(*memory().sessions("nobody"), IsEmpty());
  EXPECT_THAT(*memory().session_ids(), ElementsAre("s_a", "s_b", "s_c"));
}

TEST_F(MemoryStoreTest, TurnsComeBackAsTheyWere) {
  make_session(*stores_, "s");
  const std::string odd("line\n\ttab \xF0\x9F\x90\xA2 nul\0end", 22);
  TurnRow dated = turn(odd, "user", "Caroline");
  dated.time_ms = -5;
  dated.idx = 99;
  ASSERT_OK_AND_ASSIGN(const int64_t first, memory().append_turns("s", {dated, turn("", "assistant")}));
  EXPECT_EQ(first, 0);
  clock_.advance_ms(7);
  ASSERT_OK_AND_ASSIGN(const int64_t next, memory().append_turns("s", {turn("third")}));
  EXPECT_EQ(next, 2);
  reopen();
  ASSERT_OK_AND_ASSIGN(const auto rows, memory().turns("s", 0, -1));
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_EQ(rows[0].idx, 0);
  EXPECT_EQ(rows[0].text, odd);
  EXPECT_EQ(rows[0].speaker, "Caroline");
  EXPECT_EQ(rows[0].time_ms, -5);
  EXPECT_EQ(rows[1].role, "assistant");
  EXPECT_EQ(rows[1].text, "");
  EXPECT_EQ(rows[1].time_ms, std::nullopt);
  EXPECT_EQ(rows[2].created_ms, rows[0].created_ms + 7);

  EXPECT_THAT(*memory().turns("s", 1, 1), SizeIs(1));
  EXPECT_THAT(*memory().turns("s", 2, 10), SizeIs(1));
  EXPECT_THAT(*memory().turns("s", 3, 10), IsEmpty());
  EXPECT_EQ(memory().turns("nope", 0, 1).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(memory().turn_count("nope").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(memory().append_turns("nope", {turn("x")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(memory().append_turns("s", {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_OK(memory().write_state());
}

TEST_F(MemoryStoreTest, TenThousandTurns) {
  make_session(*stores_, "s");
  constexpr int64_t kTurns = 10'000;
  std::vector<TurnRow> rows;
  for (int64_t i = 0; i < kTurns; ++i) rows.push_back(turn("turn number " + std::to_string(i)));
  ASSERT_OK(memory().append_turns("s", rows).status());
  EXPECT_EQ(*memory().turn_count("s"), kTurns);
  ASSERT_OK_AND_ASSIGN(const auto middle, memory().turns("s", 4'321, 100));
  ASSERT_THAT(middle, SizeIs(100));
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(middle[i].idx, 4'321 + i);
    EXPECT_EQ(middle[i].text, "turn number " + std::to_string(4'321 + i));
  }
  EXPECT_THAT(*memory().check(), IsEmpty());
}

TEST_F(MemoryStoreTest, AnImportCountsOnce) {
  make_session(*stores_, "s");
  make_session(*stores_, "other");
  ASSERT_OK(memory().append_turns("s", {turn("before")}).status());
  ASSERT_OK_AND_ASSIGN(const ImportOutcome once, memory().import_turns("s", "d1", {turn("a"), turn("b")}));
  EXPECT_FALSE(once.duplicate);
  EXPECT_EQ(once.first_turn, 1);
  EXPECT_EQ(once.turns, 2);
  reopen();
  ASSERT_OK_AND_ASSIGN(const ImportOutcome again, memory().import_turns("s", "d1", {turn("a"), turn("b")}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.first_turn, 1);
  EXPECT_EQ(again.turns, 2);
  EXPECT_EQ(*memory().turn_count("s"), 3);
  EXPECT_FALSE(memory().import_turns("s", "d2", {turn("a")})->duplicate);
  EXPECT_FALSE(memory().import_turns("other", "d1", {turn("a")})->duplicate);
  EXPECT_EQ(memory().import_turns("nope", "d1", {turn("a")}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(memory().import_turns("s", "d3", {}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(MemoryStoreTest, SettingsPersist) {
  EXPECT_EQ(*memory().setting("model"), std::nullopt);
  ASSERT_OK(memory().put_setting("model", "one"));
  ASSERT_OK(memory().put_setting("model", "two"));
  reopen();
  EXPECT_EQ(*memory().setting("model"), "two");
}

TEST_F(MemoryStoreTest, ABackupRestores) {
  make_session(*stores_, "s");
  ASSERT_OK(memory().append_turns("s", {turn("kept")}).status());
  const std::string backup = dir_.file("backup.db");
  ASSERT_OK(memory().backup_to(backup));
  ASSERT_OK(memory().append_turns("s", {turn("later")}).status());
  EXPECT_EQ(memory().backup_to(backup).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(memory().backup_to(dir_.file("missing/backup.db")).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(backup + ".part"));
  EXPECT_FALSE(std::filesystem::exists(backup + "-wal"));
  EXPECT_EQ(std::filesystem::status(backup).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);

  const TempDir restored;
  std::filesystem::copy(backup, restored.file("memory.db"));
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(restored.path(), clock_));
  ASSERT_OK_AND_ASSIGN(const auto rows, stores->memory().turns("s", 0, -1));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].text, "kept");
  EXPECT_EQ(*stores->memory().append_turns("s", {turn("goes on")}), 1);
}

TEST_F(MemoryStoreTest, ACutBackupLeavesNothingAndNamesTheRemedy) {
  write_file(dir_.file("b.db.part"), "cut short");
  const Status refused = memory().backup_to(dir_.file("b.db"));
  EXPECT_EQ(refused.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(refused.message(), HasSubstr("remove it"));
  EXPECT_FALSE(std::filesystem::exists(dir_.file("b.db")));
}

TEST_F(MemoryStoreTest, CheckFindsADamagedPage) {
  make_session(*stores_, "s");
  std::vector<TurnRow> rows;
  for (int i = 0; i < 2'000; ++i) rows.push_back(turn(std::string(200, 'x')));
  ASSERT_OK(memory().append_turns("s", rows).status());
  EXPECT_THAT(*memory().check(), IsEmpty());
  stores_.reset();
  const std::string file = dir_.file("memory.db");
  std::string bytes = read_file(file);
  for (size_t i = 0; i < 64; ++i) bytes[bytes.size() / 2 / 4096 * 4096 + i] = '\x55';
  write_file(file, bytes);
  reopen();
  ASSERT_OK_AND_ASSIGN(const auto problems, memory().check());
  EXPECT_THAT(problems, ::testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace recalld::storage
