#include "storage/stores.h"
#include "storage/kv_rows.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "storage/database.h"
#include "support.h"

namespace recalld::storage {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr fs::perms kOwnerOnly = fs::perms::owner_read | fs::perms::owner_write;

TEST(StoresTest, MakesADirectoryThatOnlyItsOwnerCanRead) {
  const TempDir dir;
  const SystemClock clock;
  const std::string nested = dir.file("deep/data");
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(nested, clock));
  make_session(*stores, "s");
  EXPECT_EQ(fs::status(nested).permissions(), fs::perms::owner_all);
  for (const char* name : {"memory.db", "memory.db-wal", "memory.db-shm", "kv.db", "kv.db-wal", "lock"}) {
    EXPECT_EQ(fs::status(nested + "/" + name).permissions(), kOwnerOnly) << name;
  }
  EXPECT_THAT(stores->notes(), IsEmpty());
  EXPECT_OK(stores->write_state());
  EXPECT_OK(stores->probe());
}

TEST(StoresTest, ASecondOpenerIsRefusedByName) {
  const TempDir dir;
  const SystemClock clock;
  auto first = Stores::open(dir.path(), clock);
  ASSERT_OK(first.status());
  const auto second = Stores::open(dir.path(), clock);
  ASSERT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(second.status().message(), HasSubstr(dir.path()));
  EXPECT_THAT(second.status().message(), HasSubstr("process " + std::to_string(::getpid())));
  first->reset();
  EXPECT_OK(Stores::open(dir.path(), clock).status());
}

TEST(StoresTest, ADamagedTranscriptIsReportedAndLeftAlone) {
  const TempDir dir;
  const SystemClock clock;
  { ASSERT_OK(Stores::open(dir.path(), clock).status()); }
  std::string bytes = read_file(dir.file("memory.db"));
  bytes.replace(0, 64, std::string(64, '\x5A'));
  write_file(dir.file("memory.db"), bytes);
  const auto refused = Stores::open(dir.path(), clock);
  ASSERT_EQ(refused.status().code(), StatusCode::kCorrupt);
  EXPECT_THAT(refused.status().message(), HasSubstr("memory.db"));
  EXPECT_THAT(refused.status().message(), HasSubstr("restore it from a backup"));
  EXPECT_EQ(read_file(dir.file("memory.db")), bytes);
}

TEST(StoresTest, AnEmptiedTranscriptWithItsLogIsNotTakenForANewOne) {
  const TempDir dir;
  const TempDir crashed;
  const SystemClock clock;
  {
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    make_session(*stores, "s");
    fs::copy(dir.file("memory.db-wal"), crashed.file("memory.db-wal"));
  }
  ASSERT_GT(fs::file_size(crashed.file("memory.db-wal")), 0U);
  EXPECT_EQ(Stores::open(crashed.path(), clock).status().code(), StatusCode::kCorrupt);
  EXPECT_GT(fs::file_size(crashed.file("memory.db-wal")), 0U);
}

TEST(StoresTest, ADamagedCacheIsSetAside) {
  const SystemClock clock;
  for (const bool garbage : {true, false}) {
    const TempDir dir;
    {
      ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
      make_session(*stores, "s");
      ASSERT_OK(stores->memory().append_turns("s", {turn("kept")}).status());
      ASSERT_OK(stores->kv().put_trunk("s", {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 200'000))}, 0));
    }
    std::string bytes = read_file(dir.file("kv.db"));
    // The header, or every tree page but the first.
    if (garbage) {
      bytes.replace(0, 100, std::string(100, 'x'));
    } else {
      bytes.replace(kKvPageSize, bytes.size() - kKvPageSize, std::string(bytes.size() - kKvPageSize, '\x77'));
    }
    write_file(dir.file("kv.db"), bytes);
    for (int round = 1; round <= 2; ++round) {
      ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
      if (round == 1) {
        ASSERT_THAT(stores->notes(), SizeIs(1));
        EXPECT_THAT(stores->notes()[0], HasSubstr("kv.db.corrupt-1"));
        EXPECT_EQ(read_file(dir.file("kv.db.corrupt-1")), bytes);
      } else {
        EXPECT_THAT(stores->notes(), IsEmpty());
      }
      EXPECT_EQ(*stores->kv().trunk("s"), std::nullopt);
      EXPECT_EQ(*stores->memory().turn_count("s"), 1);
      EXPECT_THAT(*stores->kv().check(), IsEmpty());
    }
  }
}

TEST(StoresTest, ANewerSchemaIsRefused) {
  const SystemClock clock;
  for (const auto& [name, ours] : {std::pair("memory.db", "version 1"), std::pair("kv.db", "version 3")}) {
    const TempDir dir;
    { ASSERT_OK(Stores::open(dir.path(), clock).status()); }
    {
      ASSERT_OK_AND_ASSIGN(const auto database, Database::open(dir.file(name), {}));
      ASSERT_OK(database->exec("PRAGMA user_version = 7"));
      ASSERT_OK(database->checkpoint_truncate());
    }
    const auto refused = Stores::open(dir.path(), clock);
    ASSERT_EQ(refused.status().code(), StatusCode::kFailedPrecondition) << name;
    for (const char* part : {name, "version 7", ours, "install the newer recalld"}) {
      EXPECT_THAT(refused.status().message(), HasSubstr(part));
    }
  }
}

TEST(StoresTest, KvWithoutASessionIsRemovedAtOpen) {
  const TempDir dir;
  const SystemClock clock;
  {
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    for (const char* id : {"kept", "orphan"}) {
      make_session(*stores, id);
      ASSERT_OK(stores->kv().put_trunk(id, {}, {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 1000))}, 0));
    }
    ASSERT_OK(stores->memory().remove_session("orphan"));  // and the power goes before kv.db is reached
  }
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
  EXPECT_THAT(*stores->kv().sessions(), ::testing::ElementsAre("kept"));
}

// Runs `check` in a child that is nobody: root may write anything. Skips when that is not possible.
template <typename Check>
void as_nobody(Check check) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(77);
    const std::string problem = check();
    if (!problem.empty()) ::fprintf(stderr, "%s\n", problem.c_str());
    ::_exit(problem.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "cannot become nobody here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(StoresTest, AReadOnlyDirectoryIsAClearError) {
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  as_nobody([&]() -> std::string {
    const SystemClock clock;
    for (const std::string& path : {dir.path(), dir.file("below")}) {
      const Status refused = Stores::open(path, clock).status();
      if (refused.code() != StatusCode::kStorageFull) return refused.to_string();
      if (refused.message().find(path) == std::string::npos) return refused.to_string();
    }
    return "";
  });
}

TEST(StoresTest, AReadOnlyFileIsServedForReading) {
  const TempDir dir;
  const SystemClock clock;
  {
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    make_session(*stores, "s");
    ASSERT_OK(stores->memory().append_turns("s", {turn("still here")}).status());
  }
  ::chmod(dir.file("memory.db").c_str(), 0444);
  ASSERT_EQ(::chown(dir.path().c_str(), 65534, 65534), 0);
  for (const char* name : {"lock", "kv.db"}) ASSERT_EQ(::chown(dir.file(name).c_str(), 65534, 65534), 0);
  as_nobody([&]() -> std::string {
    const auto stores = Stores::open(dir.path(), clock);
    if (!stores.ok()) return stores.status().to_string();
    if ((*stores)->write_state().code() != StatusCode::kStorageFull) return "write_state does not say so";
    const auto rows = (*stores)->memory().turns("s", 0, -1);
    if (!rows.ok() || rows->size() != 1) return "reading failed: " + rows.status().to_string();
    const Status refused = (*stores)->memory().append_turns("s", {turn("no")}).status();
    return refused.code() == StatusCode::kStorageFull ? "" : refused.to_string();
  });
}

}  // namespace
}  // namespace recalld::storage
