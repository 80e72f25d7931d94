#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "support.h"

namespace recalld::storage {
namespace {

struct Acknowledged {
  int64_t turns = 0;
  int64_t trunk = 0;
};

std::string text_of(int64_t idx) { return "turn " + std::to_string(idx) + std::string(idx % 700, 'x'); }
std::vector<std::byte> payload_of(int64_t idx) {
  return pattern_bytes(static_cast<uint64_t>(idx), 40'000 + static_cast<size_t>(idx % 7) * 30'000);
}

EpisodeUpdate episodes_of(int64_t n) {
  EpisodeUpdate update;
  update.keep_segments = static_cast<int32_t>(n % 20);
  SegmentRow segment;
  segment.first_turn = n;
  segment.embedding = pattern_bytes(static_cast<uint64_t>(n), 768);
  update.segments.push_back(std::move(segment));
  EpisodeRow episode;
  episode.title = text_of(n);
  update.episodes.push_back(std::move(episode));
  return update;
}

// Appends and puts until it is killed; writes what was acknowledged to the pipe, in order.
[[noreturn]] void child(const std::string& directory, int pipe) {
  const SystemClock clock;
  const auto stores = Stores::open(directory, clock);
  if (!stores.ok()) ::_exit(3);
  Stores& open = **stores;
  const auto tell = [pipe](char kind, int64_t value) {
    char message[9] = {kind};
    std::memcpy(message + 1, &value, sizeof(value));
    if (::write(pipe, message, sizeof(message)) != sizeof(message)) ::_exit(4);
  };
  std::thread cache([&] {
    const auto trunk = open.kv().trunk("s");
    for (int64_t n = trunk->has_value() ? (*trunk)->n_tokens : 0;; ++n) {
      TrunkRow row;
      row.n_tokens = n + 1;
      // Chunk n % 20 onwards are replaced: the file stays small and every kind of change is under way when killed.
      const auto idx = static_cast<int32_t>(n % 20);
      const Status put = open.kv().put_trunk(
          "s", row,
          {new_chunk(idx, ChunkKind::kPages, payload_of(n)), new_chunk(idx + 1, ChunkKind::kTail, payload_of(n + 1))},
          idx, episodes_of(n));
      if (!put.ok()) ::_exit(5);
      tell('k', n + 1);
    }
  });
  int64_t count = *open.memory().turn_count("s");
  while (true) {
    std::vector<TurnRow> rows;
    for (int64_t i = 0; i <= count % 3; ++i) rows.push_back(turn(text_of(count + i)));
    const auto first = open.memory().append_turns("s", rows);
    if (!first.ok() || *first != count) ::_exit(6);
    count += static_cast<int64_t>(rows.size());
    tell('t', count);
  }
}

// Reads the pipe to its end, or with `until_both` until a turn and a trunk were acknowledged.
void listen(int pipe, bool until_both, Acknowledged* acknowledged) {
  char message[9];
  bool turns = false;
  bool trunk = false;
  while (::read(pipe, message, sizeof(message)) == sizeof(message)) {
    int64_t value = 0;
    std::memcpy(&value, message + 1, sizeof(value));
    (message[0] == 't' ? acknowledged->turns : acknowledged->trunk) = value;
    (message[0] == 't' ? turns : trunk) = true;
    if (until_both && turns && trunk) return;
  }
}

TEST(KillTest, FiftyKillsLoseNothingAcknowledged) {
  const TempDir dir;
  const SystemClock clock;
  {
    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    make_session(*stores, "s");
  }
  std::mt19937 random(11);
  Acknowledged acknowledged;
  for (int round = 0; round < 50; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::close(ends[0]);
      child(dir.path(), ends[1]);
    }
    ::close(ends[1]);
    listen(ends[0], true, &acknowledged);
    ::usleep(random() % 60'000);
    ::kill(pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    listen(ends[0], false, &acknowledged);
    ::close(ends[0]);

    ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock));
    EXPECT_THAT(stores->notes(), ::testing::IsEmpty());
    ASSERT_OK_AND_ASSIGN(const auto rows, stores->memory().turns("s", 0, -1));
    ASSERT_GE(static_cast<int64_t>(rows.size()), acknowledged.turns) << "round " << round;
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i].text, text_of(static_cast<int64_t>(i)));

    ASSERT_OK_AND_ASSIGN(const auto both, stores->kv().trunk_and_chunks("s"));
    const int64_t n = both ? both->trunk.n_tokens : 0;
    ASSERT_GE(n, acknowledged.trunk) << "round " << round;
    if (n > 0) {
      ASSERT_EQ(static_cast<int64_t>(both->chunks.size()), (n - 1) % 20 + 2);
      EXPECT_EQ(both->chunks.back().checksum, checksum64(payload_of(n)));
      EXPECT_EQ(both->chunks[both->chunks.size() - 2].checksum, checksum64(payload_of(n - 1)));
      ASSERT_OK_AND_ASSIGN(const auto episodes, stores->kv().episodes("s"));
      ASSERT_TRUE(episodes.has_value());
      ASSERT_EQ(static_cast<int64_t>(episodes->segments.size()), (n - 1) % 20 + 1);
      EXPECT_EQ(episodes->segments.back().first_turn, n - 1);
      ASSERT_EQ(episodes->episodes.size(), 1U);
      EXPECT_EQ(episodes->episodes[0].title, text_of(n - 1));
    }
    EXPECT_THAT(*stores->kv().check(), ::testing::IsEmpty()) << "round " << round;
    if (round % 10 == 9) {
      EXPECT_THAT(*stores->memory().check(), ::testing::IsEmpty());
    }
  }
  EXPECT_GE(acknowledged.turns, 50);
  EXPECT_GE(acknowledged.trunk, 50);
}

}  // namespace
}  // namespace recalld::storage
