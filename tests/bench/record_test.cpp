#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bench/recall/record_store.h"
#include "bench/recall/reference_store.h"

namespace recalld::bench {
namespace {

class RecordStoreTest : public ::testing::Test {
 protected:
  RecordStoreTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "recall-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~RecordStoreTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

QuestionRecord sample() {
  return {.key = "model|talk",
          .question = 7,
          .category = 2,
          .nll = 1.2345678901234567,
          .kl = 0.5,
          .survival = 0.75,
          .covered = true,
          .view_tokens = 500,
          .text_tokens = 3,
          .bytes_touched = 123456789,
          .first_token_ms = 12.5,
          .run = 1'700'000'000'000,
          .answer = "\"Lisbon\"\n",
          .f1_locomo = 1,
          .f1_epicache = 0.5};
}

TEST_F(RecordStoreTest, GoesOnWhereItWas) {
  {
    auto store = RecordStore::open(path("records"));
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->add(sample()).ok());
    ASSERT_TRUE(store->add(BuildRecord{.key = "model|talk", .history_tokens = 10, .tokens_read = 20}).ok());
  }
  {
    std::ofstream out(path("records"), std::ios::app);
    out << R"({"key":"model|talk","question":8,"nl)";  // killed in the middle of a line
  }
  {
    auto store = RecordStore::open(path("records"));
    ASSERT_TRUE(store.ok());
    const QuestionRecord* found = store->question("model|talk", 7);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(to_line(*found), to_line(sample()));
    EXPECT_DOUBLE_EQ(found->nll, 1.2345678901234567);
    EXPECT_EQ(store->question("model|talk", 8), nullptr);
    EXPECT_EQ(store->question("other", 7), nullptr);
    ASSERT_NE(store->build("model|talk"), nullptr);
    EXPECT_EQ(store->build("model|talk")->tokens_read, 20);
    QuestionRecord again = sample();
    again.nll = 2;
    ASSERT_TRUE(store->add(again).ok());
  }
  auto store = RecordStore::open(path("records"));
  ASSERT_TRUE(store.ok());
  EXPECT_DOUBLE_EQ(store->question("model|talk", 7)->nll, 2) << "the later record counts";
}

TEST_F(RecordStoreTest, ReferencesSurviveAKill) {
  const Reference reference{{{{5, -0.5F}, {3, -1.0F}}, 0.1F}, {{{1, -0.25F}}, 0.2F}};
  {
    auto store = ReferenceStore::open(path("references"));
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->add("a", 1, reference).ok());
    ASSERT_TRUE(store->add("a", 2, reference).ok());
  }
  std::filesystem::resize_file(path("references"), std::filesystem::file_size(path("references")) - 3);
  auto store = ReferenceStore::open(path("references"));
  ASSERT_TRUE(store.ok());
  ASSERT_NE(store->find("a", 1), nullptr);
  EXPECT_EQ(store->find("a", 1)->at(0).tokens, reference[0].tokens);
  EXPECT_EQ(store->find("a", 1)->at(1).rest, 0.2F);
  EXPECT_EQ(store->find("a", 2), nullptr);
  ASSERT_TRUE(store->add("a", 2, reference).ok());
  auto again = ReferenceStore::open(path("references"));
  ASSERT_TRUE(again.ok());
  EXPECT_NE(again->find("a", 2), nullptr);
}

}  // namespace
}  // namespace recalld::bench
