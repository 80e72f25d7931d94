#include "episodes/trunk.h"

#include <gtest/gtest.h>

#include <cstring>

#include "episodes/transcript_format.h"
#include "tests/episodes/model_fixture.h"

namespace recalld::episodes {
namespace {

class TrunkTest : public testing::Test {
 protected:
  TrunkTest() {
    runtime::Tokenizer tokenizer(test_model());
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "On day " + std::to_string(i) + " we walked " + std::to_string(3 * i + 1) + " miles along the river. ";
    tokens_ = tokenizer.tokenize(text);
  }

  TrunkOptions options(const std::string& codec) const {
    TrunkOptions options;
    options.block_tokens = 128;
    options.page_tokens = 64;
    options.recent_tokens = 64;
    options.pinned_tokens = 8;
    options.view_tokens = 4096;
    options.plan.layers.assign(test_model()->cache_shape().layers.size(), quant::make_codec(codec).value());
    options.fingerprint = trunk_fingerprint(test_model()->fingerprint(), "test", options);
    return options;
  }

  // Reads tokens [trunk.n_tokens(), end) in steps of at most `step`.
  void read_to(Trunk& trunk, int64_t end, int32_t step) {
    while (trunk.n_tokens() < end) {
      const auto n = std::min<int64_t>({trunk.room(), step, end - trunk.n_tokens()});
      const Status status = trunk.read(
          *engine_, std::span(tokens_).subspan(static_cast<size_t>(trunk.n_tokens()), static_cast<size_t>(n)));
      ASSERT_TRUE(status.ok()) << status.to_string();
    }
  }

  // Greedy continuation of the trunk as an answer would see it.
  std::vector<int32_t> greedy(Trunk& trunk, int n) {
    std::vector<retrieval::PageGroup> groups = trunk.groups();
    for (size_t i = 0; i < groups.size(); ++i) groups[i].chunk = trunk.load(i).value();
    for (const auto& group : trunk.tail().value()) groups.push_back(group);
    cache::Sequence sequence(test_model()->cache_shape(), pool_);
    EXPECT_TRUE(sequence
                    .set_view(retrieval::compose(groups, retrieval::choose_recent(groups, trunk.options().view_tokens),
                                                 test_model()->cache_shape().layers.size()))
                    .ok());
    std::vector<int32_t> out;
    std::vector<float> logits;
    int32_t token = 198;
    for (int i = 0; i < n; ++i) {
      const runtime::StepRequest request{&sequence, {&token, 1}, runtime::Outputs::kLast, &logits};
      EXPECT_TRUE(engine_->step({&request, 1}).ok());
      token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      out.push_back(token);
    }
    return out;
  }

  std::vector<int32_t> tokens_;
  std::unique_ptr<runtime::Engine> engine_ = test_engine();
  std::shared_ptr<cache::MemoryPool> pool_ = cache::MemoryPool::create(0);
};

TEST_F(TrunkTest, PagesLieOnTheGridAndTheYoungestStayInSixteenBits) {
  Trunk trunk(test_model()->cache_shape(), pool_, options("turboquant-4"));
  read_to(trunk, 300, 1000);
  std::vector<std::tuple<int64_t, int32_t, int>> found;
  for (const auto& group : trunk.groups())
    found.emplace_back(group.token_start, group.n_tokens, group.chunk->pages[0]->view().codec.k_bits);
  const std::vector<std::tuple<int64_t, int32_t, int>> expected{
      {0, 8, 16}, {8, 56, 4}, {64, 64, 4}, {128, 64, 4}, {192, 64, 16}};
  EXPECT_EQ(found, expected);
  const auto tail = trunk.tail().value();
  ASSERT_EQ(tail.size(), 1U);
  EXPECT_EQ(tail[0].token_start, 256);
  EXPECT_EQ(tail[0].n_tokens, 44);
}

TEST_F(TrunkTest, ArrivalDoesNotMatter) {
  Trunk whole(test_model()->cache_shape(), pool_, options("turboquant-4"));
  Trunk pieces(test_model()->cache_shape(), pool_, options("turboquant-4"));
  read_to(whole, 400, 1000);
  read_to(pieces, 400, 37);
  ASSERT_EQ(whole.groups().size(), pieces.groups().size());
  EXPECT_EQ(greedy(whole, 12), greedy(pieces, 12));
}

TEST_F(TrunkTest, ASavedTrunkComesBackBitForBit) {
  Trunk trunk(test_model()->cache_shape(), pool_, options("turboquant-4"));
  read_to(trunk, 410, 1000);
  EXPECT_TRUE(trunk.has_unsaved());
  const auto saved = trunk.unsaved().value();
  EXPECT_EQ(saved.first_changed, 0U);
  std::vector<cache::ChunkPtr> disk, tail;
  for (const auto& group : trunk.groups()) disk.push_back(group.chunk);
  for (const auto& group : saved.tail) tail.push_back(group.chunk);
  trunk.mark_saved();
  EXPECT_FALSE(trunk.has_unsaved());

  Trunk restored(test_model()->cache_shape(), pool_, options("turboquant-4"));
  int loads = 0;
  restored.set_loader([&](size_t group) -> Result<cache::ChunkPtr> {
    ++loads;
    return disk[group];
  });
  std::vector<retrieval::PageGroup> groups;
  for (const auto& chunk : disk) groups.push_back({chunk->token_start(), chunk->n_tokens(), false, nullptr});
  ASSERT_TRUE(restored.restore(groups, tail).ok());
  EXPECT_EQ(restored.n_tokens(), 410);
  EXPECT_EQ(loads, static_cast<int>(disk.size()));
  EXPECT_EQ(greedy(trunk, 10), greedy(restored, 10));
  // Reading goes on as if nothing had happened: the same pages, byte for byte.
  read_to(trunk, 520, 1000);
  read_to(restored, 520, 1000);
  ASSERT_EQ(trunk.groups().size(), restored.groups().size());
  for (size_t i = 0; i < trunk.groups().size(); ++i) {
    const auto& a = *trunk.groups()[i].chunk->buffer;
    const auto& b = *restored.groups()[i].chunk->buffer;
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size()), 0) << "page group " << i;
  }
  EXPECT_LT(restored.unsaved().value().first_changed, restored.groups().size());
}

TEST_F(TrunkTest, ALongHistoryStaysInsideTheViewAndTheMemory) {
  TrunkOptions small = options("turboquant-4");
  small.view_tokens = 256;
  small.fingerprint = trunk_fingerprint(test_model()->fingerprint(), "test", small);
  const auto pool = cache::MemoryPool::create(0);
  Trunk trunk(test_model()->cache_shape(), pool, small);
  std::vector<cache::ChunkPtr> disk;
  trunk.set_loader([&](size_t group) -> Result<cache::ChunkPtr> { return disk[group]; });
  size_t peak_early = 0;
  while (trunk.n_tokens() < 896) {
    read_to(trunk, trunk.n_tokens() + 128, 1000);
    // Keeps copies as a disk would, outside the pool.
    disk.resize(trunk.groups().size());
    const auto outside = cache::MemoryPool::create(0);
    for (size_t i = 0; i < disk.size(); ++i) {
      if (trunk.groups()[i].chunk == nullptr) continue;
      auto bytes = outside->allocate(trunk.groups()[i].chunk->buffer->size()).value();
      std::memcpy(bytes.data(), trunk.groups()[i].chunk->buffer->data(), bytes.size());
      disk[i] = cache::open_chunk(std::move(bytes), small.fingerprint).value();
    }
    trunk.mark_saved();
    if (trunk.n_tokens() == 512) peak_early = pool->peak();
  }
  EXPECT_LE(pool->peak(), peak_early) << "memory must not grow with the history";
  const size_t f16 = test_model()->cache_shape().f16_bytes_per_token();
  EXPECT_LE(pool->peak(),
            f16 * static_cast<size_t>(small.view_tokens + 2 * small.block_tokens + 2 * small.page_tokens));
  for (const auto& group : trunk.groups())
    EXPECT_LE(group.chunk == nullptr ? 0 : group.chunk->pages[0]->meta().rope_start,
              small.view_tokens + small.block_tokens);
}

TEST_F(TrunkTest, SavesBetweenBlocksAddUpToTheTrunk) {
  TrunkOptions small = options("turboquant-4");
  small.view_tokens = 384;
  small.fingerprint = trunk_fingerprint(test_model()->fingerprint(), "test", small);
  Trunk trunk(test_model()->cache_shape(), pool_, small);
  std::vector<cache::ChunkPtr> disk, tail;
  const auto load = [&](size_t group) -> Result<cache::ChunkPtr> { return disk[group]; };
  trunk.set_loader(load);
  for (const int64_t until : {100, 128, 300, 330, 512, 640, 700, 850}) {
    read_to(trunk, until, 1000);
    const auto unsaved = trunk.unsaved().value();
    disk.resize(unsaved.first_changed);
    for (size_t i = unsaved.first_changed; i < trunk.groups().size(); ++i) disk.push_back(trunk.groups()[i].chunk);
    tail.clear();
    for (const auto& group : unsaved.tail) tail.push_back(group.chunk);
    trunk.mark_saved();
  }
  Trunk restored(test_model()->cache_shape(), pool_, small);
  restored.set_loader(load);
  std::vector<retrieval::PageGroup> groups;
  for (const auto& chunk : disk) groups.push_back({chunk->token_start(), chunk->n_tokens(), false, nullptr});
  ASSERT_TRUE(restored.restore(groups, tail).ok());
  ASSERT_EQ(restored.groups().size(), trunk.groups().size());
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto& kept = *trunk.load(i).value()->buffer;
    const auto& found = *restored.load(i).value()->buffer;
    ASSERT_EQ(kept.size(), found.size()) << "page group " << i;
    EXPECT_EQ(std::memcmp(kept.data(), found.data(), kept.size()), 0) << "page group " << i;
  }
  const auto a = trunk.tail().value(), b = restored.tail().value();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(std::memcmp(a[i].chunk->buffer->data(), b[i].chunk->buffer->data(), a[i].chunk->buffer->size()), 0);
  EXPECT_EQ(greedy(trunk, 8), greedy(restored, 8));
}

TEST_F(TrunkTest, ACancelledReadLeavesTheTrunkAsItWas) {
  Trunk trunk(test_model()->cache_shape(), pool_, options("turboquant-4"));
  read_to(trunk, 130, 1000);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(trunk.read(*engine_, std::span(tokens_).subspan(130, 64), &cancel).code(), StatusCode::kCancelled);
  EXPECT_EQ(trunk.n_tokens(), 130);
  Trunk twin(test_model()->cache_shape(), pool_, options("turboquant-4"));
  read_to(twin, 130, 1000);
  EXPECT_EQ(greedy(trunk, 5), greedy(twin, 5));
}

TEST_F(TrunkTest, PagesThatDoNotContinueEachOtherAreRefused) {
  Trunk trunk(test_model()->cache_shape(), pool_, options("turboquant-4"));
  EXPECT_EQ(trunk.restore({{0, 64, false, nullptr}, {65, 63, false, nullptr}}, {}).code(), StatusCode::kCorrupt);
}

TEST(TrunkOptions, NumbersOutOfRangeAreNamed) {
  TrunkOptions options;
  options.block_tokens = 200;
  EXPECT_NE(check_trunk_options(options).message().find("block_tokens is 200"), std::string::npos);
  options = {};
  options.page_tokens = 8;
  EXPECT_FALSE(check_trunk_options(options).ok());
  options = {};
  options.view_tokens = 300;
  EXPECT_FALSE(check_trunk_options(options).ok());
  options = {};
  options.pinned_tokens = 128;
  EXPECT_FALSE(check_trunk_options(options).ok());
  EXPECT_TRUE(check_trunk_options({}).ok());
}

}  // namespace
}  // namespace recalld::episodes
