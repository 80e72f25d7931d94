#include "episodes/trunk.h"

#include <tuple>

#include "tests/episodes/trunk_fixture.h"

namespace recalld::episodes {
namespace {

class TrunkTest : public TrunkFixture {};

TEST_F(TrunkTest, PagesFollowSegmentsAndTheYoungestStayInSixteenBits) {
  Trunk trunk = make(options("turboquant-4"));
  read_to(trunk, 280, 1000);
  std::vector<std::tuple<int32_t, int64_t, int32_t, int>> found;
  for (const auto& group : trunk.groups())
    found.emplace_back(group.segment, group.token_start, group.n_tokens,
                       group.chunk->pages[0]->view().codec.k.halves() ? 16 : 4);
  // Turns end at 11, 26, 31, 53, 62, 92, 98, ...; the times move before turns 6 and 13, which so begin segments.
  // Blocks end at 92, 164 and 262.
  const std::vector<std::tuple<int32_t, int64_t, int32_t, int>> expected{
      {0, 0, 8, 16},   {0, 8, 18, 4},    {1, 26, 27, 4},  {2, 53, 32, 4},  {2, 85, 7, 4},
      {3, 92, 32, 4},  {3, 124, 9, 4},   {4, 133, 31, 4}, {5, 164, 26, 4}, {6, 190, 5, 4},
      {7, 195, 31, 4}, {8, 226, 32, 16}, {8, 258, 4, 16}};
  EXPECT_EQ(found, expected);
  const auto tail = trunk.tail().value();
  ASSERT_EQ(tail.size(), 1U);
  EXPECT_EQ(tail[0].token_start, 262);
  EXPECT_EQ(tail[0].n_tokens, 18);
  EXPECT_EQ(tail[0].segment, 9);
  EXPECT_EQ(retrieval::groups_of(trunk.groups(), 3), std::pair(size_t{5}, size_t{7}));
}

TEST_F(TrunkTest, EveryGroupLiesInItsSegmentAndEveryTokenInOneGroup) {
  for (const int32_t pinned : {0, 8, 30}) {
    TrunkOptions some = options("turboquant-4");
    some.pinned_tokens = pinned;
    Trunk trunk = make(finished(some));
    read_to(trunk, 350, 1000);
    int64_t token = 0;
    for (const auto& group : all_groups(trunk)) {
      const auto& segment = trunk.segments()[static_cast<size_t>(group.segment)];
      EXPECT_EQ(group.token_start, token);
      EXPECT_GE(group.token_start, segment.token_first);
      EXPECT_LE(group.token_start + group.n_tokens, segment.token_first + segment.n_tokens);
      EXPECT_EQ(group.pinned, token < pinned);
      token += group.n_tokens;
    }
    EXPECT_EQ(token, 350);
  }
}

TEST_F(TrunkTest, ALongTurnIsReadInBlocksOfItsSegments) {
  set_turns({10, 400, 20});
  Trunk trunk = make(options("turboquant-4"));
  ASSERT_TRUE(read_turns(trunk, *engine_, std::span(turns_).first(2)).ok());
  EXPECT_EQ(trunk.n_tokens(), 410);
  for (const auto& group : trunk.groups()) EXPECT_LE(group.n_tokens, 32);
  for (const auto& segment : trunk.segments()) EXPECT_LE(segment.n_tokens, 48);
  EXPECT_LE(trunk.tail().value().size(), 4U);
}

TEST_F(TrunkTest, ArrivalDoesNotMatter) {
  constexpr int64_t kEnd = 310;  // where turn 18 ends, inside a block
  for (const ReadingPolicy policy : {ReadingPolicy::kRecent, ReadingPolicy::kWhole, ReadingPolicy::kSinks}) {
    TrunkOptions some = options("none16");
    some.reading = policy;
    some.view_tokens = 128;
    some = finished(some);
    Trunk at_once = make(some), turn_by_turn = make(some), pieces = make(some);
    ASSERT_TRUE(read_turns(at_once, *engine_, std::span(turns_).first(19)).ok());
    read_to(turn_by_turn, kEnd, 1000, true);
    std::vector<Trunk*> others{&turn_by_turn};
    if (policy == ReadingPolicy::kRecent) {
      read_to(pieces, kEnd, 19);
      others.push_back(&pieces);
    }
    const auto expected = all_groups(at_once);
    for (Trunk* other : others) {
      ASSERT_EQ(other->n_tokens(), kEnd);
      const auto found = all_groups(*other);
      ASSERT_EQ(at_once.groups().size(), other->groups().size());
      ASSERT_EQ(expected.size(), found.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(expected[i].token_start, found[i].token_start);
        EXPECT_EQ(expected[i].segment, found[i].segment);
        for (size_t layer = 0; layer < expected[i].chunk->pages.size(); ++layer) {
          const auto &a = *expected[i].chunk->pages[layer], &b = *found[i].chunk->pages[layer];
          EXPECT_EQ(a.meta().rope_start, b.meta().rope_start);
          ASSERT_LT(difference(values(a), values(b)), 2e-3)
              << reading_policy_name(policy) << ", group " << i << ", layer " << layer;
        }
      }
    }
    EXPECT_EQ(greedy(at_once, 6), greedy(turn_by_turn, 6));
  }
}

TEST_F(TrunkTest, ASavedTrunkComesBackBitForBit) {
  Trunk trunk = make(options("turboquant-4"));
  read_to(trunk, 200, 1000);
  EXPECT_TRUE(trunk.has_unsaved());
  EXPECT_EQ(trunk.unsaved().value().first_changed, 0U);
  Disk disk;
  disk.save(trunk);
  EXPECT_FALSE(trunk.has_unsaved());

  Trunk restored = make(options("turboquant-4"));
  restored.set_loader(disk.loader());
  announce_to(restored, 200);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  EXPECT_EQ(restored.n_tokens(), 200);
  EXPECT_EQ(disk.loads, 0) << "what the block sees is loaded when its reading goes on";
  const auto tail = trunk.tail().value(), restored_tail = restored.tail().value();
  ASSERT_EQ(tail.size(), restored_tail.size());
  for (size_t i = 0; i < tail.size(); ++i) EXPECT_TRUE(same_bytes(*tail[i].chunk, *restored_tail[i].chunk));
  EXPECT_EQ(greedy(trunk, 10), greedy(restored, 10));
  // Reading goes on as if nothing had happened: the same pages, byte for byte.
  read_to(trunk, 300, 1000);
  read_to(restored, 300, 1000);
  ASSERT_EQ(trunk.groups().size(), restored.groups().size());
  for (size_t i = 0; i < trunk.groups().size(); ++i) {
    EXPECT_EQ(trunk.groups()[i].segment, restored.groups()[i].segment);
    EXPECT_TRUE(same_bytes(*trunk.load(i).value(), *restored.load(i).value())) << "page group " << i;
  }
  EXPECT_LT(restored.unsaved().value().first_changed, restored.groups().size());
}

TEST_F(TrunkTest, ABlockWhoseViewIsLostSaysSoWhenItIsReadOn) {
  Trunk trunk = make(options("turboquant-4"));
  read_to(trunk, 200, 1000);
  Disk disk;
  disk.save(trunk);
  Trunk restored = make(options("turboquant-4"));
  bool lost = true;
  restored.set_loader([&](size_t group) -> Result<cache::ChunkPtr> {
    if (lost) return corrupt("a page is damaged");
    return disk.chunks[group];
  });
  announce_to(restored, 201);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  const std::vector<int32_t> token{5};
  EXPECT_EQ(restored.read(*engine_, token).code(), StatusCode::kCorrupt);
  EXPECT_EQ(restored.n_tokens(), 200);
  lost = false;
  EXPECT_TRUE(restored.read(*engine_, token).ok());
  EXPECT_EQ(restored.n_tokens(), 201);
}

TEST_F(TrunkTest, SavesBetweenBlocksAddUpToTheTrunk) {
  TrunkOptions small = options("turboquant-4");
  small.view_tokens = 192;
  small = finished(small);
  Trunk trunk = make(small);
  Disk disk;
  trunk.set_loader(disk.loader());
  for (const int64_t until : {50, 92, 150, 164, 256, 330, 350, 440}) {
    read_to(trunk, until, 1000);
    disk.save(trunk);
  }
  Trunk restored = make(small);
  restored.set_loader(disk.loader());
  announce_to(restored, 440);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  ASSERT_EQ(restored.groups().size(), trunk.groups().size());
  for (size_t i = 0; i < trunk.groups().size(); ++i)
    EXPECT_TRUE(same_bytes(*trunk.load(i).value(), *restored.load(i).value())) << "page group " << i;
  const auto a = trunk.tail().value(), b = restored.tail().value();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bytes(*a[i].chunk, *b[i].chunk));
  EXPECT_EQ(greedy(trunk, 8), greedy(restored, 8));
}

TEST_F(TrunkTest, RecentPagesThatNoBlockSeesAreThereToBeSaved) {
  TrunkOptions some = options("turboquant-4");
  some.reading = ReadingPolicy::kSinks;
  some.recent_tokens = some.near_tokens = 150;
  some = finished(some);
  Trunk trunk = make(some);
  read_to(trunk, 170, 1000);
  Disk disk;
  disk.save(trunk);
  Trunk restored = make(some);
  restored.set_loader(disk.loader());
  announce_to(restored, 170);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  read_to(restored, 262, 1000);
  disk.save(restored);
  read_to(trunk, 262, 1000);
  ASSERT_EQ(disk.chunks.size(), trunk.groups().size());
  for (size_t i = 0; i < disk.chunks.size(); ++i)
    EXPECT_TRUE(same_bytes(*disk.chunks[i], *trunk.load(i).value())) << "page group " << i;
}

// The codec of the first layer's page of each group, run by run.
std::string codecs_of(const Trunk& trunk) {
  std::string text, last;
  for (const auto& group : trunk.groups()) {
    const std::string name = group.chunk->pages.front()->codec().name();
    if (name != last) text += (text.empty() ? "" : " ") + name;
    last = name;
  }
  return text;
}

TEST_F(TrunkTest, YoungPagesAreWiderUntilTheyAreOld) {
  TrunkOptions some = options("turboquant-2");
  some.near_tokens = 150;
  some.near_plan = options("turboquant-4").plan;
  EXPECT_NE(finished(some).fingerprint, options("turboquant-2").fingerprint);
  some = finished(some);
  Trunk trunk = make(some);
  read_to(trunk, 300, 1000);
  EXPECT_EQ(codecs_of(trunk), "none16 turboquant-2 turboquant-4");
  int64_t old = 0;
  for (const auto& group : trunk.groups()) {
    if (group.pinned) continue;
    const bool near =
        group.token_start + group.n_tokens > trunk.groups().back().token_start + trunk.groups().back().n_tokens - 150;
    EXPECT_EQ(group.chunk->pages.front()->codec().name(), near ? "turboquant-4" : "turboquant-2") << group.token_start;
    old += near ? 0 : 1;
  }
  EXPECT_GT(old, 1);

  // Saved, restored and read on it is the same as read without a break.
  Disk disk;
  Trunk half = make(some);
  read_to(half, 170, 1000);
  disk.save(half);
  Trunk restored = make(some);
  restored.set_loader(disk.loader(pool_, some.fingerprint));
  announce_to(restored, 170);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  read_to(restored, 300, 1000);
  ASSERT_EQ(restored.groups().size(), trunk.groups().size());
  for (size_t i = 0; i < trunk.groups().size(); ++i)
    EXPECT_TRUE(same_bytes(*restored.load(i).value(), *trunk.load(i).value())) << "page group " << i;
}

TEST_F(TrunkTest, ACancelledReadLeavesTheTrunkAsItWas) {
  Trunk trunk = make(options("turboquant-4"));
  read_to(trunk, 62, 1000);
  announce_to(trunk, 70);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(trunk.read(*engine_, std::span(tokens_).subspan(62, 20), &cancel).code(), StatusCode::kCancelled);
  EXPECT_EQ(trunk.n_tokens(), 62);
  Trunk twin = make(options("turboquant-4"));
  read_to(twin, 62, 1000);
  EXPECT_EQ(greedy(trunk, 5), greedy(twin, 5));
}

TEST_F(TrunkTest, OnlyAnnouncedTokensAreRead) {
  Trunk trunk = make(options("turboquant-4"));
  EXPECT_EQ(trunk.room(), 0);
  EXPECT_EQ(trunk.read(*engine_, std::span(tokens_).first(1)).code(), StatusCode::kInvalidArgument);
  announce(trunk);
  EXPECT_EQ(trunk.room(), 11);
  EXPECT_EQ(trunk.read(*engine_, std::span(tokens_).first(12)).code(), StatusCode::kInvalidArgument);
}

TEST_F(TrunkTest, DateLinesHavePagesOfTheirOwn) {
  set_turns({20});
  // The first date line begins among the 8 pinned tokens and is pinned whole; later ones stand at a turn's beginning.
  for (size_t i = 0; i < turns_.size(); ++i)
    if (i % 7 == 6) turns_[i].date = {.first = 0, .n = 5};
  turns_[0].date = {.first = 4, .n = 6};
  Trunk trunk = make(options("turboquant-4"));
  ASSERT_TRUE(read_turns(trunk, *engine_, std::span(turns_).first(14)).ok());
  std::vector<retrieval::PageGroup> groups = trunk.groups();
  const std::vector<retrieval::PageGroup> tail = trunk.tail().value();
  groups.insert(groups.end(), tail.begin(), tail.end());
  EXPECT_TRUE(groups[0].pinned);
  EXPECT_EQ(groups[0].n_tokens, 10);
  std::vector<std::pair<int64_t, int32_t>> dates;
  int64_t end = 0;
  for (const retrieval::PageGroup& group : groups) {
    EXPECT_EQ(group.token_start, end);
    end += group.n_tokens;
    if (group.date) dates.emplace_back(group.token_start, group.n_tokens);
  }
  EXPECT_EQ(end, 14 * 20);
  EXPECT_EQ(dates, (std::vector<std::pair<int64_t, int32_t>>{{120, 5}, {260, 5}}));
}

TEST_F(TrunkTest, PagesThatDoNotFollowTheTranscriptAreRefused) {
  const auto restore = [&](std::vector<retrieval::PageGroup> groups, std::vector<size_t> view) {
    Trunk trunk = make(options("turboquant-4"));
    announce_to(trunk, 60);
    return trunk.restore(std::move(groups), {}, std::move(view)).code();
  };
  EXPECT_EQ(restore({{0, 8}, {8, 18}, {26, 27}}, {}), StatusCode::kOk);
  EXPECT_EQ(restore({{0, 8}, {9, 17}}, {}), StatusCode::kCorrupt);
  EXPECT_EQ(restore({{0, 8}, {8, -8}}, {}), StatusCode::kCorrupt);
  EXPECT_EQ(restore({{0, 8}, {8, 20}, {28, 25}}, {}), StatusCode::kCorrupt);
  EXPECT_EQ(restore({{0, 8}, {8, 18}, {26, 27}, {53, 32}}, {}), StatusCode::kCorrupt);
  EXPECT_EQ(restore({{0, 8}, {8, 18}}, {2}), StatusCode::kCorrupt);
}

TEST(TrunkOptions, NumbersOutOfRangeAreNamed) {
  TrunkOptions options;
  options.block_tokens = 8;
  EXPECT_NE(check_trunk_options(options).message().find("block_tokens is 8"), std::string::npos);
  options = {};
  options.page_tokens = 8;
  EXPECT_FALSE(check_trunk_options(options).ok());
  options = {};
  options.view_tokens = 2 * options.block_tokens - 1;
  EXPECT_FALSE(check_trunk_options(options).ok());
  options = {};
  options.block_tokens = 256;
  options.view_tokens = 8000;
  EXPECT_NE(check_trunk_options(options).message().find("at most 7681"), std::string::npos);
  options = {};
  options.pinned_tokens = 256;
  EXPECT_FALSE(check_trunk_options(options).ok());
  options = {};
  options.segments.turns = 0;
  EXPECT_FALSE(check_trunk_options(options).ok());
  EXPECT_TRUE(check_trunk_options({}).ok());
}

}  // namespace
}  // namespace recalld::episodes
