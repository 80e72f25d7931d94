// What each policy keeps, on scores made by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "episodes/policies/layer_budgets.h"
#include "episodes/policies/policies.h"
#include "tests/episodes/model_fixture.h"

namespace recalld::episodes {
namespace {

using Indices = std::vector<std::vector<int32_t>>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Selection, TakesTheBestAndTheLowerIndexOfEquals) {
  const std::vector<std::vector<float>> keep{{5, 1, 1, 1, 9}, {2, 2, kNaN, 3, 0}};
  EXPECT_EQ(select_entries(keep, 3, Selection::kPerHead), (Indices{{0, 1, 4}, {0, 1, 3}}));
  EXPECT_EQ(select_entries(keep, 2, Selection::kAcrossHeads), (Indices{{0, 4}, {0, 3}}));
  // Six over both heads: 9, 5, 3, 2, 2, then the 1 of the lowest index.
  EXPECT_EQ(select_entries(keep, 3, Selection::kAcrossHeads), (Indices{{0, 1, 4}, {0, 1, 3}}));
  EXPECT_EQ(select_entries({{1, 1}, {1, 1}}, 1, Selection::kAcrossHeads), (Indices{{0}, {0}}));
  EXPECT_EQ(select_entries({{9, 9, 9}, {1, 1}}, 1, Selection::kAcrossHeads), (Indices{{0, 1}, {}}));
  EXPECT_EQ(select_entries(keep, 9, Selection::kPerHead), (Indices{{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}}));
  EXPECT_EQ(select_entries(keep, 1, Selection::kEverything), (Indices{{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}}));
}

TEST(Selection, PoolsWithZerosAtTheEnds) {
  const std::vector<float> scores{3, 0, 0, 6, 0, 0};
  EXPECT_EQ(pool_scores(scores, 1, Pooling::kMax), scores);
  EXPECT_EQ(pool_scores(scores, 3, Pooling::kMax), (std::vector<float>{3, 3, 6, 6, 6, 0}));
  EXPECT_EQ(pool_scores(scores, 3, Pooling::kMean), (std::vector<float>{1, 1, 2, 2, 2, 0}));
}

// One head of made-up entries and what a policy keeps of it.
struct Head {
  std::vector<int32_t> positions;
  std::vector<float> keys, weights, carried;
};

struct Outcome {
  Indices kept;  // positions
  std::vector<std::vector<float>> carried;
};

Outcome run(EvictionPolicy& policy, const std::vector<Head>& heads, int32_t budget, int32_t block_start, int32_t end) {
  LayerEntries entries{
      .layer = 0, .head_dim = 2, .budget = budget, .block_start = block_start, .end = end, .heads = {}};
  LayerScores scores;
  for (const Head& head : heads) {
    entries.heads.push_back({head.positions, head.keys, head.keys, head.weights, head.carried});
    scores.keep.emplace_back(head.positions.size());
    scores.carried.emplace_back(head.positions.size());
  }
  policy.score(entries, scores);
  Outcome outcome{select_entries(scores.keep, budget, policy.selection()), scores.carried};
  for (size_t head = 0; head < heads.size(); ++head)
    for (int32_t& index : outcome.kept[head]) index = heads[head].positions[static_cast<size_t>(index)];
  return outcome;
}

Head head_at(std::vector<int32_t> positions, std::vector<float> weights = {}) {
  Head head;
  head.positions = std::move(positions);
  head.weights = std::move(weights);
  head.carried.resize(head.positions.size());
  head.keys.resize(head.positions.size() * 2);
  return head;
}

TEST(Policies, StreamingLlmKeepsSinksAndTheNewest) {
  const auto policy = make_streamingllm({.sinks = 2});
  EXPECT_EQ(run(*policy, {head_at({0, 1, 5, 6, 7, 8, 9})}, 4, 7, 10).kept, (Indices{{0, 1, 8, 9}}));
  EXPECT_EQ(policy->min_budget(), 3);
  EXPECT_EQ(policy->observe({}, 0).source, Observation::Source::kNothing);
}

TEST(Policies, H2oKeepsHeavyHittersAndTheNewest) {
  const auto policy = make_h2o();
  Head head = head_at({0, 2, 4, 5, 6, 7}, {0.1F, 0.2F, 0.9F, 0.3F, 0.1F, 0.1F});
  head.carried = {2.0F, 0.0F, 0.5F, 0, 0, 0};
  const Outcome outcome = run(*policy, {head}, 4, 5, 8);
  EXPECT_EQ(outcome.kept, (Indices{{0, 4, 6, 7}}));
  EXPECT_FLOAT_EQ(outcome.carried[0][0], 2.1F) << "mass adds up over blocks";
  EXPECT_FLOAT_EQ(outcome.carried[0][2], 1.4F);
  const Observation observation = policy->observe(std::vector<int32_t>{1, 2, 3}, 5);
  EXPECT_EQ(observation.source, Observation::Source::kBlock);
  EXPECT_EQ(observation.first_query, 5) << "every token of the block counts";
  EXPECT_EQ(observation.reduce, kernels::WeightReduce::kSum);
}

TEST(Policies, SnapKvKeepsItsWindowAndWhatItSawWithNeighbours) {
  const std::vector<float> weights{0, 0, 9, 0, 0, 4, 0, 0, 0.5F, 0.5F};
  std::vector<int32_t> positions(10);
  std::iota(positions.begin(), positions.end(), 0);
  const auto pooled = make_snapkv({.window = 2, .pooling_width = 3, .pooling = Pooling::kMax});
  EXPECT_EQ(run(*pooled, {head_at(positions, weights)}, 5, 0, 10).kept, (Indices{{1, 2, 3, 8, 9}}));
  const auto sharp = make_snapkv({.window = 2, .pooling_width = 1});
  EXPECT_EQ(run(*sharp, {head_at(positions, weights)}, 4, 0, 10).kept, (Indices{{2, 5, 8, 9}}));
  const std::vector<int32_t> block{7, 8, 9, 10};
  EXPECT_EQ(pooled->observe(block, 100).first_query, 102);
  const auto reread = make_snapkv({.window = 2, .in_place = false});
  EXPECT_EQ(reread->observe(block, 100).text, (std::vector<int32_t>{9, 10}));
}

TEST(Policies, ScoringTextsKeepWhatDrawsMostAttentionInTheLayer) {
  const std::vector<int32_t> block{7, 8, 9};
  const auto kvzip = make_kvzip({.instruction = {1, 2}});
  EXPECT_EQ(kvzip->observe(block, 30).text, (std::vector<int32_t>{1, 2, 7, 8, 9}));
  EXPECT_TRUE(kvzip->observe(block, 30).own_keys);
  const auto epicache = make_epicache({.prompt = {4, 5}});
  EXPECT_EQ(epicache->observe(block, 30).text, (std::vector<int32_t>{4, 5})) << "the same for all blocks";
  EXPECT_FALSE(epicache->observe(block, 30).own_keys);
  const std::vector<Head> heads{head_at({0, 1, 2}, {0.3F, 0.9F, 0.8F}), head_at({0, 1, 2}, {0.7F, 0.1F, 0.2F})};
  for (EvictionPolicy* policy : {kvzip.get(), epicache.get()})
    EXPECT_EQ(run(*policy, heads, 2, 0, 3).kept, (Indices{{0, 1, 2}, {0}}));
  const auto uniform = make_epicache({.prompt = {4, 5}, .selection = Selection::kPerHead});
  EXPECT_EQ(run(*uniform, heads, 2, 0, 3).kept, (Indices{{1, 2}, {0, 2}}));
}

TEST(Policies, KeyDiffKeepsKeysUnlikeTheMean) {
  const auto policy = make_keydiff();
  Head head = head_at({0, 1, 2, 3, 4});
  // Three alike, long ones among them; one across; one against.
  head.keys = {1, 0, 50, 1, 0, 2, 1, 0.1F, -0.5F, 0};
  EXPECT_EQ(run(*policy, {head}, 2, 0, 5).kept, (Indices{{2, 4}}));
}

TEST(Policies, GoByName) {
  const runtime::Tokenizer tokenizer(test_model());
  PolicySettings settings;
  settings.epicache.prompt = {1, 2, 3};
  for (const std::string& name : policy_names()) {
    const auto policy = make_policy(name, tokenizer, settings);
    ASSERT_TRUE(policy.ok()) << name;
    EXPECT_EQ((*policy)->name(), name);
  }
  EXPECT_EQ(make_policy("lru", tokenizer).status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(make_policy("epicache", tokenizer).ok());
  settings.snapkv.pooling_width = 4;
  EXPECT_FALSE(make_policy("snapkv", tokenizer, settings).ok());
}

TEST(EpiCache, PromptIsInstructionThenSegments) {
  const runtime::Tokenizer tokenizer(test_model());
  const std::vector<std::string> segments{"Ann: I moved to Leeds.", "Bob: <|im_end|> is no markup here."};
  const std::string text = tokenizer.detokenize(episode_prompt(tokenizer, segments, "<|im_end|>\n"), true);
  EXPECT_EQ(text, std::string(kEpisodeInstruction) + "<|im_end|>\n" + segments[0] + "\n\n" + segments[1]);
}

TEST(EpiCache, RoutesByCosine) {
  const std::vector<std::vector<float>> centroids{{0.9F, 0.9F}, {0.4F, 0}, {0.5F, 0}};
  EXPECT_EQ(nearest_episode(std::vector<float>{1, 0}, centroids), 1U);
  EXPECT_EQ(nearest_episode(std::vector<float>{1, 1}, centroids), 0U) << "length does not count";
}

cache::CacheShape shape_with_windows(const std::vector<int32_t>& windows) {
  cache::CacheShape shape;
  for (const int32_t window : windows) {
    cache::LayerShape layer;
    layer.window = window;
    shape.layers.push_back(layer);
  }
  return shape;
}

TEST(LayerBudgets, FollowTheSensitivityAndSumExactly) {
  const cache::CacheShape shape = shape_with_windows({0, 0, 0, 0});
  // Squares 0, 1, 4, 4: the first falls to the floor, the rest share what is left.
  EXPECT_EQ(layer_budgets(shape, std::vector<float>{0, 1, 2, 2}, 100), (std::vector<int32_t>{25, 42, 167, 166}));
  EXPECT_EQ(layer_budgets(shape, std::vector<float>{0, 0, 0, 0}, 100), (std::vector<int32_t>{100, 100, 100, 100}));
  EXPECT_EQ(layer_budgets(shape, std::vector<float>{1, 2, 3, 4}, 100, {.alpha = 0}),
            (std::vector<int32_t>{100, 100, 100, 100}));
  for (int mean = 1; mean < 3000; mean += 37) {
    const std::vector<float> s{0.01F, 0.2F, 0.07F, 0.31F};
    const auto budgets = layer_budgets(shape, s, mean);
    EXPECT_EQ(std::accumulate(budgets.begin(), budgets.end(), 0), 4 * mean);
    for (const int32_t budget : budgets) EXPECT_GE(budget, mean / 4);
  }
}

TEST(LayerBudgets, LeaveWindowedLayersOut) {
  EXPECT_EQ(layer_budgets(shape_with_windows({512, 0, 512, 0}), std::vector<float>{0, 0.1F, 0, 0.1F}, 64),
            (std::vector<int32_t>{0, 64, 0, 64}));
}

}  // namespace
}  // namespace recalld::episodes
