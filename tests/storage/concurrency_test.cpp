#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "support.h"

namespace recalld::storage {
namespace {

TEST(ConcurrencyTest, AppendsFromManyThreadsStayDenseAndComplete) {
  const TempDir dir;
  const SystemClock clock;
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
  make_session(*stores, "shared");
  constexpr int kThreads = 6;
  constexpr int kAppends = 30;
  std::atomic<bool> writing = true;
  std::atomic<int> problems = 0;

  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      const std::string own = "own-" + std::to_string(t);
      SessionRow row;
      row.id = own;
      row.principal = "local";
      if (!stores->memory().create_session(row).ok()) ++problems;
      for (int i = 0; i < kAppends; ++i) {
        const std::string text = std::to_string(t) + "/" + std::to_string(i);
        const auto mine = stores->memory().append_turns(own, {turn(text + "a"), turn(text + "b")});
        if (!mine.ok() || *mine != 2 * i) ++problems;
        if (!stores->memory().append_turns("shared", {turn(text + "a"), turn(text + "b")}).ok()) ++problems;
      }
    });
  }
  std::vector<std::thread> readers;
  for (int t = 0; t < 6; ++t) {
    readers.emplace_back([&] {
      int64_t seen = 0;
      while (writing) {
        const auto rows = stores->memory().turns("shared", 0, -1);
        if (!rows.ok() || static_cast<int64_t>(rows->size()) < seen || rows->size() % 2 != 0) {
          ++problems;
          return;
        }
        seen = static_cast<int64_t>(rows->size());
        for (size_t i = 0; i < rows->size(); ++i) problems += (*rows)[i].idx != static_cast<int64_t>(i);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
  }
  for (std::thread& thread : writers) thread.join();
  writing = false;
  for (std::thread& thread : readers) thread.join();
  EXPECT_EQ(problems, 0);

  ASSERT_OK_AND_ASSIGN(const auto rows, stores->memory().turns("shared", 0, -1));
  ASSERT_EQ(rows.size(), static_cast<size_t>(kThreads * kAppends * 2));
  std::set<std::string> texts;
  for (size_t i = 0; i < rows.size(); ++i) {
    texts.insert(rows[i].text);
    // The two turns of one append stay together.
    if (i % 2 == 1) {
      EXPECT_EQ(rows[i].text, rows[i - 1].text.substr(0, rows[i - 1].text.size() - 1) + "b");
    }
  }
  EXPECT_EQ(texts.size(), rows.size());
}

TEST(ConcurrencyTest, ReadersOfTheCacheSeeWholePutsOnly) {
  const TempDir dir;
  const SystemClock clock;
  ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
  make_session(*stores, "s");
  make_session(*stores, "doomed");
  std::atomic<bool> writing = true;
  std::atomic<int> problems = 0;
  const auto put = [&](const std::string& session, int round) {
    TrunkRow row;
    row.n_tokens = round;
    return stores->kv().put_trunk(session, row,
                                  {new_chunk(0, ChunkKind::kTail, pattern_bytes(round, 150'000)),
                                   new_chunk(1, ChunkKind::kPages, pattern_bytes(round + 1, 90'000))},
                                  0);
  };
  ASSERT_OK(put("s", 1));
  std::thread writer([&] {
    for (int round = 2; round < 40; ++round) problems += !put("s", round).ok();
    writing = false;
  });
  std::thread remover([&] {
    problems += !put("doomed", 1).ok();
    problems += !stores->remove_session("doomed").ok();
    problems += put("doomed", 2).code() != StatusCode::kNotFound;
    problems += !stores->memory().check()->empty();
    problems += !stores->kv().check()->empty();
  });
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (writing) {
        const auto both = stores->kv().trunk_and_chunks("s");
        if (!both.ok() || !both->has_value()) {
          ++problems;
          return;
        }
        // The chunks are those of the trunk that was seen with them.
        const auto expected = pattern_bytes(static_cast<uint64_t>((*both)->trunk.n_tokens), 150'000);
        problems += (*both)->chunks.size() != 2 || (*both)->chunks[0].checksum != checksum64(expected);
        problems += !stores->kv().load_chunk("s", 0).ok();
      }
    });
  }
  writer.join();
  remover.join();
  for (std::thread& thread : readers) thread.join();
  EXPECT_EQ(problems, 0);
}

}  // namespace
}  // namespace recalld::storage
