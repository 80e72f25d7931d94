#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "fault_vfs.h"
#include "support.h"

namespace recalld::storage {
namespace {

using ::testing::HasSubstr;

// Appends until writing fails; returns how many turns were acknowledged.
int64_t fill(Stores& stores, Status* failure) {
  for (int64_t acknowledged = 0; acknowledged < 10'000; ++acknowledged) {
    *failure = stores.memory().append_turns("s", {turn(std::string(60'000, 'f'))}).status();
    if (!failure->ok()) return acknowledged;
  }
  return -1;
}

TEST(FullDiskTest, ARealFullDiskServesReadsAndRecovers) {
  const TempDir dir;
  const std::string disk = dir.file("disk");
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=6m") != 0) GTEST_SKIP() << "cannot mount a small disk here";
  {
    const SystemClock clock;
    write_file(disk + "/other", std::string(3 << 20, 'o'));
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(disk + "/data", clock));
    make_session(*stores, "s");
    Status failure;
    const int64_t acknowledged = fill(*stores, &failure);
    EXPECT_EQ(failure.code(), StatusCode::kStorageFull) << failure.to_string();
    EXPECT_THAT(failure.message(), HasSubstr("memory.db"));
    EXPECT_EQ(stores->write_state().code(), StatusCode::kStorageFull);
    EXPECT_EQ(*stores->memory().turn_count("s"), acknowledged);
    EXPECT_EQ(stores->memory().turns("s", 0, -1)->size(), static_cast<size_t>(acknowledged));
    const Status kv = stores->kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 4 << 20))}, 0);
    EXPECT_EQ(kv.code(), StatusCode::kStorageFull) << kv.to_string();
    EXPECT_EQ(*stores->kv().trunk("s"), std::nullopt);

    std::filesystem::remove(disk + "/other");
    EXPECT_OK(stores->probe());
    EXPECT_OK(stores->write_state());
    EXPECT_EQ(*stores->memory().append_turns("s", {turn("room again")}), acknowledged);
    EXPECT_OK(stores->kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 100'000))}, 0));
    EXPECT_THAT(*stores->memory().check(), ::testing::IsEmpty());
    EXPECT_THAT(*stores->kv().check(), ::testing::IsEmpty());
  }
  ::umount(disk.c_str());
}

TEST(FullDiskTest, TheSizeBoundOfAFileActsTheSame) {
  const TempDir dir;
  const SystemClock clock;
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
  make_session(*stores, "s");
  ASSERT_OK(stores->memory().set_max_bytes(1 << 20));
  Status failure;
  const int64_t acknowledged = fill(*stores, &failure);
  EXPECT_EQ(failure.code(), StatusCode::kStorageFull);
  EXPECT_GT(acknowledged, 10);
  EXPECT_EQ(stores->write_state().code(), StatusCode::kStorageFull);
  EXPECT_EQ(*stores->memory().turn_count("s"), acknowledged);
  ASSERT_OK(stores->memory().set_max_bytes(0));
  EXPECT_EQ(*stores->memory().append_turns("s", {turn(std::string(60'000, 'f'))}), acknowledged);
  EXPECT_OK(stores->write_state());

  ASSERT_OK(stores->kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 1 << 20))}, 0));
  ASSERT_OK(stores->kv().set_max_bytes(2 << 20));
  const NewChunk big = new_chunk(1, ChunkKind::kPages, pattern_bytes(2, 2 << 20));
  EXPECT_EQ(stores->kv().put_trunk("s", {}, {big}, 1).code(), StatusCode::kStorageFull);
  EXPECT_EQ(stores->kv().chunk_list("s")->size(), 1U);
  EXPECT_OK(stores->memory().write_state());
  EXPECT_EQ(stores->write_state().code(), StatusCode::kStorageFull);
  // Making room is a way out.
  EXPECT_OK(stores->kv().drop_trunk("s"));
  EXPECT_OK(stores->write_state());
}

class FaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.vfs = vfs_.name();
    auto opened = Stores::open(dir_.path(), clock_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    stores_ = std::move(opened).value();
    make_session(*stores_, "s");
    ASSERT_OK(stores_->memory().append_turns("s", {turn("one")}).status());
  }

  FaultVfs vfs_;
  TempDir dir_;
  SystemClock clock_;
  StoreOptions options_;
  std::unique_ptr<Stores> stores_;
};

TEST_F(FaultTest, WritesThatFailWhileRunningLeaveReadsAndPass) {
  for (const int code : {SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR_WRITE}) {
    vfs_.fail_writes(code);
    EXPECT_EQ(stores_->memory().append_turns("s", {turn("lost")}).status().code(), StatusCode::kStorageFull) << code;
    EXPECT_EQ(stores_->write_state().code(), StatusCode::kStorageFull);
    EXPECT_EQ(stores_->probe().code(), StatusCode::kStorageFull);
    EXPECT_EQ(stores_->memory().turns("s", 0, -1)->size(), 1U);
    vfs_.fail_writes(SQLITE_OK);
    EXPECT_OK(stores_->probe());
    EXPECT_OK(stores_->write_state());
  }
  EXPECT_EQ(*stores_->memory().append_turns("s", {turn("two")}), 1);
}

TEST_F(FaultTest, AFailedSyncStopsWritingUntilReopened) {
  vfs_.fail_syncs(true);
  EXPECT_EQ(stores_->memory().append_turns("s", {turn("lost")}).status().code(), StatusCode::kStorageFull);
  vfs_.fail_syncs(false);
  const Status stopped = stores_->memory().append_turns("s", {turn("refused")}).status();
  EXPECT_EQ(stopped.code(), StatusCode::kUnavailable);
  EXPECT_THAT(stopped.message(), HasSubstr("restart"));
  EXPECT_EQ(stores_->probe().code(), StatusCode::kUnavailable);
  EXPECT_EQ(stores_->write_state().code(), StatusCode::kUnavailable);
  EXPECT_EQ(stores_->memory().turns("s", 0, -1)->size(), 1U);
  stores_.reset();
  ASSERT_OK_AND_ASSIGN(stores_, Stores::open(dir_.path(), clock_, options_));
  EXPECT_OK(stores_->write_state());
  ASSERT_OK_AND_ASSIGN(const int64_t next, stores_->memory().append_turns("s", {turn("goes on")}));
  // What was not acknowledged may be there or not; what was is.
  EXPECT_GE(next, 1);
  EXPECT_EQ((*stores_->memory().turns("s", 0, 1))[0].text, "one");
}

TEST_F(FaultTest, ADeletionCutShortByAFullDiskIsFinishedAtTheNextStart) {
  ASSERT_OK(stores_->memory().append_turns("s", {turn("very secret words")}).status());
  ASSERT_OK(stores_->kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 1000))}, 0));
  // The deletion is committed to the WAL; rewriting the file is what fails.
  vfs_.fail_writes(SQLITE_FULL, "memory.db");
  const Status status = stores_->remove_session("s");
  EXPECT_EQ(status.code(), StatusCode::kStorageFull);
  EXPECT_THAT(status.message(), HasSubstr("is deleted, but"));
  EXPECT_EQ(stores_->memory().turn_count("s").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(*stores_->kv().trunk("s"), std::nullopt);
  vfs_.fail_writes(SQLITE_OK);
  stores_.reset();
  ASSERT_OK_AND_ASSIGN(stores_, Stores::open(dir_.path(), clock_));
  EXPECT_THAT(read_all_files(dir_.path()), ::testing::Not(HasSubstr("very secret words")));
}

}  // namespace
}  // namespace recalld::storage
