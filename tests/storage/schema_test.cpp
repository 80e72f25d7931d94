#include "storage/schema.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "storage/store_file.h"
#include "support.h"

namespace recalld::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int32_t kApplication = 0x54455354;
constexpr const char* kOne[] = {"CREATE TABLE notes(text TEXT NOT NULL) STRICT; INSERT INTO notes VALUES('first')"};
constexpr const char* kThree[] = {kOne[0], "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 3",
                                  "CREATE TABLE more(x INTEGER) STRICT; UPDATE notes SET stars = 5"};
constexpr const char* kBroken[] = {kOne[0], "INSERT INTO notes VALUES('half'); CREATE TABLE notes(x)"};

class SchemaTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<StoreFile>> open(std::span<const char* const> steps) {
    FileSpec spec;
    spec.path = path_;
    spec.schema = Schema{kApplication, steps};
    spec.copy_before_upgrade = true;
    notes_.clear();
    return StoreFile::open(spec, {}, writer_, notes_);
  }

  TempDir dir_;
  const std::string path_ = dir_.file("test.db");
  Writer writer_{8, 1024};
  std::vector<std::string> notes_;
};

TEST_F(SchemaTest, UpgradesOverSeveralVersionsAndKeepsTheOldFile) {
  ASSERT_OK(open(kOne).status());
  EXPECT_THAT(notes_, SizeIs(0));
  {
    ASSERT_OK_AND_ASSIGN(const auto file, open(kThree));
    ASSERT_OK_AND_ASSIGN(const int64_t stars, file->read_value<int64_t>([](Database& database) {
      return database.query_int("SELECT stars FROM notes WHERE text = 'first'");
    }));
    EXPECT_EQ(stars, 5);
    EXPECT_EQ(*file->writer_database().query_int("PRAGMA user_version"), 3);
    ASSERT_THAT(notes_, SizeIs(2));
    EXPECT_THAT(notes_[0], HasSubstr("test.db.schema-1"));
    EXPECT_THAT(notes_[1], HasSubstr("from schema version 1 to 3"));
  }
  ASSERT_OK_AND_ASSIGN(const auto copy, Database::open(path_ + ".schema-1", {}));
  EXPECT_EQ(*copy->query_int("PRAGMA user_version"), 1);
  EXPECT_EQ(*copy->query_int("SELECT count(*) FROM notes"), 1);
  EXPECT_FALSE(copy->query_int("SELECT stars FROM notes").ok());
}

TEST_F(SchemaTest, KeepsEveryCopyUnderItsOwnName) {
  ASSERT_OK(open(kOne).status());
  write_file(path_ + ".schema-1", "an earlier copy");
  ASSERT_OK(open(kThree).status());
  EXPECT_EQ(read_file(path_ + ".schema-1"), "an earlier copy");
  EXPECT_TRUE(std::filesystem::exists(path_ + ".schema-1-2"));
}

TEST_F(SchemaTest, AFailedStepLeavesTheVersionBefore) {
  ASSERT_OK(open(kOne).status());
  const auto failed = open(kBroken);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.status().message(), HasSubstr("upgrade to schema version 2"));
  ASSERT_OK_AND_ASSIGN(const auto file, open(kOne));
  EXPECT_EQ(*file->writer_database().query_int("SELECT count(*) FROM notes"), 1);
}

TEST_F(SchemaTest, ANewerFileIsRefusedUntouched) {
  ASSERT_OK(open(kThree).status());
  const std::string before = read_file(path_);
  const auto refused = open(kOne);
  ASSERT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  for (const char* part : {"test.db", "version 3", "version 1", "install the newer recalld"}) {
    EXPECT_THAT(refused.status().message(), HasSubstr(part));
  }
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(SchemaTest, AnotherProgramsDatabaseIsRefusedUntouched) {
  {
    write_file(path_, "");
    ASSERT_OK_AND_ASSIGN(const auto other, Database::open(path_, {}));
    ASSERT_OK(other->exec("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)"));
  }
  const std::string before = read_file(path_);
  const auto refused = open(kOne);
  ASSERT_EQ(refused.status().code(), StatusCode::kCorrupt);
  EXPECT_THAT(refused.status().message(), HasSubstr("not made by recalld"));
  EXPECT_EQ(read_file(path_), before);
}

TEST_F(SchemaTest, ReleasedSchemasHaveTheirIdentity) {
  EXPECT_NE(kMemorySchema.application_id, kKvSchema.application_id);
  EXPECT_EQ(kMemorySchema.version(), 1);
  EXPECT_EQ(kKvSchema.version(), 3);
}

}  // namespace
}  // namespace recalld::storage
