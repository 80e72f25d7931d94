// What blocks see, and how much memory reading takes.

#include "episodes/reading_policy.h"
#include "tests/episodes/trunk_fixture.h"

namespace recalld::episodes {
namespace {

class ReadingTest : public TrunkFixture {
 protected:
  TrunkOptions reading(ReadingPolicy policy, int32_t view_tokens = 128) const {
    TrunkOptions some = options("none16");
    some.reading = policy;
    some.view_tokens = view_tokens;
    return finished(some);
  }

  // The entries that the tokens from `first` on get when they are read in one step after the view of `chosen` groups.
  void expect_read_after(const std::vector<retrieval::PageGroup>& groups, const std::vector<size_t>& chosen,
                         int64_t first, double tolerance = 2e-3) {
    cache::Sequence sequence(test_model()->cache_shape(), pool_);
    sequence.set_uniform(true);
    const size_t n_layers = test_model()->cache_shape().layers.size();
    ASSERT_TRUE(sequence.set_view(retrieval::compose(groups, chosen, n_layers)).ok());
    const int32_t start = sequence.length();
    const auto end = groups.back().token_start + groups.back().n_tokens;
    const auto tokens = std::span(tokens_).subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
    const runtime::StepRequest request{&sequence, tokens, runtime::Outputs::kNone, nullptr};
    ASSERT_TRUE(engine_->step({&request, 1}).ok());
    for (const auto& group : groups) {
      if (group.token_start < first) continue;
      const auto at = start + static_cast<int32_t>(group.token_start - first);
      const auto rows = sequence.export_rows(at, group.n_tokens, group.token_start, {}).value();
      for (size_t layer = 0; layer < n_layers; ++layer) {
        EXPECT_EQ(group.chunk->pages[layer]->meta().rope_start, at);
        EXPECT_LT(difference(values(*group.chunk->pages[layer]), values(*rows->pages[layer])), tolerance)
            << "token " << group.token_start << ", layer " << layer;
      }
    }
  }

  // Groups of the trunk's last whole block and before.
  static std::vector<retrieval::PageGroup> paged(Trunk& trunk) {
    auto groups = all_groups(trunk);
    groups.resize(trunk.groups().size());
    return groups;
  }
};

TEST_F(ReadingTest, NamesRoundTrip) {
  for (const char* name : {"recent", "whole", "sinks", "composed"})
    EXPECT_EQ(reading_policy_name(parse_reading_policy(name).value()), name);
  EXPECT_FALSE(parse_reading_policy("all").has_value());
}

// Turn sizes and times of the fixture: blocks begin at 0, 92, 164 and 262.
constexpr int64_t kThirdBlock = 164, kThirdBlockEnd = 262;

TEST_F(ReadingTest, WholeEqualsOneForwardPass) {
  Trunk trunk = make(reading(ReadingPolicy::kWhole));
  read_to(trunk, kThirdBlockEnd, 1000);
  ASSERT_TRUE(trunk.tail().value().empty());
  // Sums over pages and sums over rows round differently, and the model's 8-bit activations turn the last digit of a
  // sum into steps of a percent or two of a deep layer's entries. What was read after another view differs by half.
  expect_read_after(paged(trunk), {}, 0, 0.05);
}

TEST_F(ReadingTest, RecentSeesThePinnedAndTheNewestPages) {
  Trunk trunk = make(reading(ReadingPolicy::kRecent));
  read_to(trunk, kThirdBlockEnd, 1000);
  const auto groups = paged(trunk);
  const auto before =
      static_cast<size_t>(std::ranges::find(groups, kThirdBlock, &retrieval::PageGroup::token_start) - groups.begin());
  ASSERT_LT(before, groups.size());
  const auto chosen = retrieval::choose_recent(std::span(groups).first(before), 128);
  ASSERT_GT(groups[chosen[1]].token_start, 8);
  expect_read_after(groups, chosen, kThirdBlock);
}

TEST_F(ReadingTest, SinksSeeThePinnedTokensAlone) {
  Trunk trunk = make(reading(ReadingPolicy::kSinks));
  read_to(trunk, kThirdBlockEnd, 1000);
  expect_read_after(paged(trunk), {0}, kThirdBlock);
}

TEST_F(ReadingTest, ComposedSeesThePinnedTheRankedAndTheNewest) {
  Trunk trunk = make(reading(ReadingPolicy::kComposed));
  std::vector<std::pair<int64_t, int32_t>> asked;
  trunk.set_ranker([&](const BlockStart& block) -> Result<std::vector<int32_t>> {
    asked.emplace_back(block.token, block.n_segments);
    std::vector<int32_t> ranked{3, 0, 3, 1, 2, 99};
    std::erase_if(ranked, [&](int32_t s) { return s >= block.n_segments; });
    return ranked;
  });
  read_to(trunk, kThirdBlockEnd, 40);
  EXPECT_EQ(asked, (std::vector<std::pair<int64_t, int32_t>>{{0, 0}, {92, 3}, {164, 5}}));
  const auto groups = paged(trunk);
  const auto before =
      static_cast<size_t>(std::ranges::find(groups, kThirdBlock, &retrieval::PageGroup::token_start) - groups.begin());
  // 8 pinned; segment 4 (31 tokens) is among the newest 32; by rank then segments 3 (41 tokens), 0 (18 that
  // are not pinned) and 1 (27); 2 (39) has no room any more. By time in the view.
  const size_t recent = retrieval::recent_from(std::span(groups).first(before), 32);
  const std::vector<int32_t> segments{0, 1, 3};
  const auto chosen = retrieval::view_groups_for(std::span(groups).first(before), segments, recent);
  ASSERT_EQ(retrieval::tokens_of(groups, chosen), 125);
  expect_read_after(groups, chosen, kThirdBlock);
}

TEST_F(ReadingTest, ComposedWithoutARankerSaysWhatIsMissing) {
  Trunk trunk = make(reading(ReadingPolicy::kComposed));
  announce(trunk);
  const Status status = trunk.read(*engine_, std::span(tokens_).first(10));
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("ranker"), std::string::npos);
}

TEST_F(ReadingTest, AComposedTrunkComesBackInsideABlockWithoutAskingAgain) {
  const TrunkOptions some = reading(ReadingPolicy::kComposed);
  const SegmentRanker ranker = [](const BlockStart& block) -> Result<std::vector<int32_t>> {
    std::vector<int32_t> ranked;
    for (int32_t s = 0; s < block.n_segments; s += 2) ranked.push_back(s);
    return ranked;
  };
  Trunk trunk = make(some);
  trunk.set_ranker(ranker);
  read_to(trunk, 290, 1000);
  Disk disk;
  disk.save(trunk);
  Trunk restored = make(some);
  restored.set_loader(disk.loader());
  announce_to(restored, 290);
  ASSERT_TRUE(restored.restore(disk.groups(), disk.tail, disk.view).ok());
  restored.set_ranker(ranker);
  read_to(trunk, 420, 1000);
  read_to(restored, 420, 1000);
  ASSERT_EQ(trunk.groups().size(), restored.groups().size());
  for (size_t i = 0; i < trunk.groups().size(); ++i)
    EXPECT_TRUE(same_bytes(*trunk.load(i).value(), *restored.load(i).value())) << "page group " << i;
}

// A history of four windows: positions stay inside the window, memory inside view + pinned +
// recent + block.
TEST_F(ReadingTest, AHistoryOfSeveralWindowsStaysInsideTheMemory) {
  constexpr int32_t kWindow = 256;
  runtime::EngineOptions small_window;
  small_window.context = kWindow;
  engine_ = runtime::Engine::create(test_model(), small_window).value();
  set_turns({16}, false);
  const std::vector<std::pair<const char*, ReadingPolicy>> arms{{"none16", ReadingPolicy::kWhole},
                                                                {"none16", ReadingPolicy::kComposed},
                                                                {"turboquant-4", ReadingPolicy::kRecent}};
  for (const auto& [codec, policy] : arms) {
    TrunkOptions some = options(codec);
    some.reading = policy;
    some.segments.max_tokens = 32;
    some.view_tokens = 128;
    some.window_tokens = kWindow;
    some = finished(some);
    pool_ = cache::MemoryPool::create(0);
    Disk disk;
    {
      Trunk trunk = make(some);
      trunk.set_loader(disk.loader(pool_, some.fingerprint));
      trunk.set_ranker([](const BlockStart& block) -> Result<std::vector<int32_t>> {
        std::vector<int32_t> ranked;
        for (int32_t s = 0; s < block.n_segments; ++s) ranked.push_back((s * 7 + 3) % block.n_segments);
        return ranked;
      });
      while (trunk.n_tokens() < 4 * kWindow) {
        read_to(trunk, trunk.n_tokens() + some.block_tokens, 1000);
        disk.save(trunk);
      }
    }
    for (const auto& chunk : disk.chunks)
      for (const auto& page : chunk->pages) ASSERT_LE(page->meta().rope_start + page->meta().n_tokens, kWindow);
    const int32_t view = policy == ReadingPolicy::kWhole ? kWindow - longest_block(some) : some.view_tokens;
    // Rows are allocated 64 at a time, so the last 64 and their pages are there at once.
    constexpr int32_t kRowsGranule = 64;
    const auto tokens =
        static_cast<size_t>(view + some.pinned_tokens + some.recent_tokens + longest_block(some) + kRowsGranule);
    const size_t bound = tokens * test_model()->cache_shape().f16_bytes_per_token();
    const std::string arm = std::string(codec) + ", " + std::string(reading_policy_name(policy));
    std::printf("%s: peak %.2f MB, bound %.2f MB\n", arm.c_str(), static_cast<double>(pool_->peak()) / 1e6,
                static_cast<double>(bound) / 1e6);
    EXPECT_LE(pool_->peak(), bound) << arm;
  }
}

}  // namespace
}  // namespace recalld::episodes
