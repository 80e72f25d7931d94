// Block-wise reading under each policy, on the default model.
#include "episodes/policies/policies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>

#include "episodes/policies/layer_budgets.h"
#include "episodes/policies/layer_sensitivity.h"
#include "tests/episodes/model_fixture.h"
#include "tests/support/synthetic_gguf.h"

namespace recalld::episodes {
namespace {

std::vector<int32_t> prose(size_t n) {
  const char* source = std::getenv("RECALLD_SOURCE_DIR");
  std::ifstream file(std::string(source != nullptr ? source : ".") + "/data/sample_prose.txt");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<int32_t> tokens = runtime::Tokenizer(test_model()).tokenize(text);
  tokens.resize(std::min(n, tokens.size()));
  return tokens;
}

class PoliciesTest : public ::testing::Test {
 protected:
  PoliciesTest() {
    settings_.epicache.prompt = episode_prompt(
        tokenizer_, std::vector<std::string>{"Orla weighed herring and whiting.", "The engineer had a machine."});
    settings_.snapkv.window = 16;
  }

  std::unique_ptr<EvictionPolicy> policy(const std::string& name) {
    return make_policy(name, tokenizer_, settings_).value();
  }

  std::vector<float> next_logits(cache::Sequence& sequence, int32_t token) {
    std::vector<float> logits;
    const runtime::StepRequest request{&sequence, {&token, 1}, runtime::Outputs::kLast, &logits};
    const Status status = engine_->step({&request, 1});
    EXPECT_TRUE(status.ok()) << status.to_string();
    return logits;
  }
  static int32_t best(const std::vector<float>& logits) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

  // Greedy continuation, beginning with a new line.
  std::vector<int32_t> greedy(const PolicyCache& cache, int n) {
    cache::Sequence sequence(shape(), pool_);
    EXPECT_TRUE(sequence.set_view(cache.view).ok());
    EXPECT_EQ(sequence.length(), cache.n_tokens);
    std::vector<int32_t> out{198};
    for (int i = 0; i < n; ++i) out.push_back(best(next_logits(sequence, out.back())));
    return out;
  }

  const cache::CacheShape& shape() const { return test_model()->cache_shape(); }
  int64_t n_heads() const {
    int64_t sum = 0;
    for (const cache::LayerShape& layer : shape().layers) sum += layer.n_kv_heads;
    return sum;
  }

  runtime::Tokenizer tokenizer_{test_model()};
  PolicySettings settings_;
  std::unique_ptr<runtime::Engine> engine_ = test_engine();
  std::shared_ptr<cache::MemoryPool> pool_ = cache::MemoryPool::create(0);
};

// Blocks and a history on the kernels' tile grid add up in the same order: the same bits.
TEST_F(PoliciesTest, WithRoomForEverythingTheLogitsAreThoseOfTheFullCache) {
  const std::vector<int32_t> history = prose(192);
  for (const size_t block : {size_t{64}, size_t{192}}) {
    cache::Sequence full(shape(), pool_);
    for (size_t first = 0; first < history.size(); first += block) {
      const auto tokens = std::span(history).subspan(first, std::min(block, history.size() - first));
      const runtime::StepRequest request{&full, tokens, runtime::Outputs::kNone, nullptr};
      ASSERT_TRUE(engine_->step({&request, 1}).ok());
    }
    const auto cache = evicting_prefill(*engine_, pool_, history, *policy("none"),
                                        {.budget = 1, .block_tokens = static_cast<int32_t>(block)});
    ASSERT_TRUE(cache.ok()) << cache.status().to_string();
    cache::Sequence evicted(shape(), pool_);
    ASSERT_TRUE(evicted.set_view(cache->view).ok());
    ASSERT_EQ(next_logits(full, 198), next_logits(evicted, 198)) << "blocks of " << block;
  }
}

// Any block: the tokens of the full cache, but for ties within the rounding of 8-bit activations.
TEST_F(PoliciesTest, WithRoomForEverythingTheTokensAreThoseOfTheFullCache) {
  const std::vector<int32_t> history = prose(200);
  cache::Sequence full(shape(), pool_);
  const runtime::StepRequest request{&full, history, runtime::Outputs::kNone, nullptr};
  ASSERT_TRUE(engine_->step({&request, 1}).ok());
  std::vector<int32_t> tokens{198};
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 4; ++i) {
    expected.push_back(next_logits(full, tokens.back()));
    tokens.push_back(best(expected.back()));
  }
  for (const std::string& name : policy_names()) {
    const auto cache = evicting_prefill(*engine_, pool_, history, *policy(name), {.budget = 200, .block_tokens = 90});
    ASSERT_TRUE(cache.ok()) << name << ": " << cache.status().to_string();
    EXPECT_EQ(cache->n_entries(), 200 * n_heads()) << name;
    EXPECT_EQ(cache->build_tokens, 200) << name << ": nothing to evict, nothing to score";
    cache::Sequence evicted(shape(), pool_);
    ASSERT_TRUE(evicted.set_view(cache->view).ok());
    for (size_t i = 0; i < expected.size(); ++i) {
      const int32_t ours = best(next_logits(evicted, tokens[i]));
      const float gap = expected[i][static_cast<size_t>(tokens[i + 1])] - expected[i][static_cast<size_t>(ours)];
      EXPECT_LE(gap, 0.1F) << name << ", token " << i;
    }
  }
}

// Looks on while another policy works: entries keep their order and bytes.
class Witness final : public EvictionPolicy {
 public:
  explicit Witness(EvictionPolicy& policy) : policy_(policy) {}
  const std::string& name() const override { return policy_.name(); }
  Selection selection() const override { return policy_.selection(); }
  Observation observe(std::span<const int32_t> block, int32_t start) override { return policy_.observe(block, start); }
  bool scores_every_block() const override { return true; }
  void score(const LayerEntries& entries, LayerScores& scores) override {
    for (size_t head = 0; head < entries.heads.size(); ++head) {
      const HeadEntries& from = entries.heads[head];
      EXPECT_TRUE(std::is_sorted(from.positions.begin(), from.positions.end()));
      for (size_t i = 0; i < from.positions.size(); ++i) {
        const auto key = from.keys.subspan(i * static_cast<size_t>(entries.head_dim), 4);
        const auto value = from.values.subspan(i * static_cast<size_t>(entries.head_dim), 4);
        std::vector<float> numbers(key.begin(), key.end());
        numbers.insert(numbers.end(), value.begin(), value.end());
        const auto [known, is_new] = seen_.try_emplace({entries.layer, head, from.positions[i]}, numbers);
        ASSERT_EQ(is_new, from.positions[i] >= entries.block_start);
        ASSERT_EQ(known->second, numbers);
      }
    }
    policy_.score(entries, scores);
  }

 private:
  EvictionPolicy& policy_;
  std::map<std::tuple<int32_t, size_t, int32_t>, std::vector<float>> seen_;
};

TEST_F(PoliciesTest, KeepExactlyTheBudgetInOrderAndUnchanged) {
  const std::vector<int32_t> history = prose(200);
  const int32_t budget = 64, block = 80;
  for (const std::string& name : policy_names()) {
    if (name == "none") continue;
    const auto inner = policy(name);
    Witness witness(*inner);
    const auto pool = cache::MemoryPool::create(0);
    PrefillOptions options{.budget = budget, .block_tokens = block};
    if (name == "epicache") {
      std::vector<float> s(shape().layers.size());
      for (size_t layer = 0; layer < s.size(); ++layer) s[layer] = 0.1F + 0.01F * static_cast<float>(layer % 7);
      options.layer_budgets = layer_budgets(shape(), s, budget);
    }
    const auto prefill = EvictingPrefill::create(*engine_, pool, witness, options).value();
    for (int32_t first = 0; first < 200; first += block) {
      const int32_t n = std::min(block, 200 - first);
      ASSERT_TRUE(
          prefill->read_block(std::span(history).subspan(static_cast<size_t>(first), static_cast<size_t>(n))).ok());
      const PolicyCache cache = prefill->cache();
      EXPECT_EQ(cache.n_tokens, first + n);
      for (size_t layer = 0; layer < shape().layers.size(); ++layer) {
        const int32_t own = options.layer_budgets.empty() ? budget : options.layer_budgets[layer];
        EXPECT_DOUBLE_EQ(cache.entries_per_head(static_cast<int>(layer)), std::min(own, first + n)) << name;
        if (inner->selection() != Selection::kPerHead) continue;
        for (const auto& head : cache.positions[layer])
          EXPECT_EQ(static_cast<int32_t>(head.size()), std::min(own, first + n));
      }
    }
    const PolicyCache cache = prefill->cache();
    const Observation observation = inner->observe(std::span(history).first(static_cast<size_t>(block)), 0);
    const auto text = static_cast<int64_t>(observation.text.size());
    EXPECT_LE(cache.peak_entries, (budget + block + text) * n_heads()) << name;
    // Bytes: 16-bit entries of budget, block and text; rows come in blocks of 64, pages have headers, and one layer's
    // pages are made while the old ones are held.
    const double bound = static_cast<double>(shape().f16_bytes_per_token()) *
                         static_cast<double>(budget + budget / 30 + block + text + 64) * 1.1;
    EXPECT_LE(static_cast<double>(pool->peak()), bound) << name;
    EXPECT_EQ(greedy(cache, 2).size(), 3U);
  }
}

TEST_F(PoliciesTest, KeepWhatTheirRuleSays) {
  const std::vector<int32_t> history = prose(200);
  const PrefillOptions options{.budget = 64, .block_tokens = 90};
  const auto streaming = evicting_prefill(*engine_, pool_, history, *policy("streamingllm"), options).value();
  std::vector<int32_t> expected{0, 1, 2, 3};
  for (int32_t i = 140; i < 200; ++i) expected.push_back(i);
  for (const auto& layer : streaming.positions)
    for (const auto& head : layer) EXPECT_EQ(head, expected);
  EXPECT_DOUBLE_EQ(survival(streaming, shape(), 130, 150), 0.5);

  const auto newest_kept = [&](const PolicyCache& cache, int32_t n) {
    for (const auto& layer : cache.positions)
      for (const auto& head : layer)
        if (head[head.size() - static_cast<size_t>(n)] != 200 - n) return false;
    return true;
  };
  const auto h2o = evicting_prefill(*engine_, pool_, history, *policy("h2o"), options).value();
  EXPECT_TRUE(newest_kept(h2o, 32));
  EXPECT_EQ(h2o.build_tokens, 200);
  const auto snapkv = evicting_prefill(*engine_, pool_, history, *policy("snapkv"), options).value();
  EXPECT_TRUE(newest_kept(snapkv, 16));
  EXPECT_FALSE(newest_kept(snapkv, 60));
  // A sink draws attention from everywhere.
  int first_kept = 0, heads = 0;
  for (const auto& layer : h2o.positions) {
    for (const auto& head : layer) {
      first_kept += head.front() == 0 ? 1 : 0;
      ++heads;
    }
  }
  EXPECT_GT(first_kept, heads * 9 / 10);
}

TEST_F(PoliciesTest, ScoringPassesLeaveNothingBehind) {
  // The same kept entries whether a text was read in between or not: a policy that observes a text and keeps what
  // StreamingLLM keeps.
  class Onlooker final : public EvictionPolicy {
   public:
    explicit Onlooker(std::vector<int32_t> text) : text_(std::move(text)) {}
    const std::string& name() const override { return policy_->name(); }
    Selection selection() const override { return policy_->selection(); }
    Observation observe(std::span<const int32_t>, int32_t) override {
      Observation observation;
      observation.source = Observation::Source::kText;
      observation.text = text_;
      return observation;
    }
    void score(const LayerEntries& entries, LayerScores& scores) override {
      for (const HeadEntries& head : entries.heads) {
        EXPECT_EQ(head.weights.size(), head.positions.size());
        // Largest weights of several queries: at least those of one, whose sum is 1.
        EXPECT_GE(std::accumulate(head.weights.begin(), head.weights.end(), 0.0), 0.999);
      }
      policy_->score(entries, scores);
    }

   private:
    std::unique_ptr<EvictionPolicy> policy_ = make_streamingllm();
    std::vector<int32_t> text_;
  };
  const std::vector<int32_t> history = prose(180);
  const PrefillOptions options{.budget = 64, .block_tokens = 90};
  Onlooker onlooker(settings_.epicache.prompt);
  const auto watched = evicting_prefill(*engine_, pool_, history, onlooker, options).value();
  const auto plain = evicting_prefill(*engine_, pool_, history, *policy("streamingllm"), options).value();
  EXPECT_EQ(watched.build_tokens, 180 + 2 * static_cast<int64_t>(settings_.epicache.prompt.size()));
  EXPECT_EQ(watched.positions, plain.positions);
  for (size_t layer = 0; layer < shape().layers.size(); ++layer) {
    ASSERT_EQ(watched.view.layers[layer].size(), plain.view.layers[layer].size());
    for (size_t i = 0; i < plain.view.layers[layer].size(); ++i)
      ASSERT_TRUE(
          std::ranges::equal(watched.view.layers[layer][i]->view().bytes, plain.view.layers[layer][i]->view().bytes));
  }
  EXPECT_EQ(greedy(watched, 3), greedy(plain, 3));
}

// Epicache.md's relation between the two: the same scorer, another text.
TEST_F(PoliciesTest, OneEpisodeWithTheBlocksEndAsPromptIsSnapKvWithoutPooling) {
  const std::vector<int32_t> history = prose(200);
  const PrefillOptions options{.budget = 80, .block_tokens = 200};
  const auto snapkv = make_snapkv({.window = 64, .pooling_width = 1, .in_place = false});
  const auto a = evicting_prefill(*engine_, pool_, history, *snapkv, options).value();
  const std::vector<std::vector<int32_t>> prompts{{history.end() - 64, history.end()}};
  const auto b = build_epicache(*engine_, pool_, history, prompts, options, Selection::kPerHead).value();
  ASSERT_EQ(b.size(), 1U);
  EXPECT_EQ(a.positions, b[0].positions);
  EXPECT_EQ(a.build_tokens, 264);
  // Its own text in place and read once more look at much the same entries.
  const auto in_place = make_snapkv({.window = 64, .pooling_width = 1});
  const auto c = evicting_prefill(*engine_, pool_, history, *in_place, options).value();
  int64_t shared = 0;
  for (size_t layer = 0; layer < shape().layers.size(); ++layer) {
    for (size_t head = 0; head < a.positions[layer].size(); ++head) {
      std::vector<int32_t> both;
      std::ranges::set_intersection(a.positions[layer][head], c.positions[layer][head], std::back_inserter(both));
      shared += static_cast<int64_t>(both.size());
    }
  }
  std::printf("kept by SnapKV in place and by its window read once more: %.2f of the budget in common\n",
              static_cast<double>(shared) / static_cast<double>(a.n_entries()));
}

TEST_F(PoliciesTest, EpisodesAreDeterministicAndDiffer) {
  const std::vector<int32_t> history = prose(160);
  const PrefillOptions options{.budget = 48, .block_tokens = 80};
  const std::vector<std::vector<int32_t>> prompts{
      episode_prompt(tokenizer_, std::vector<std::string>{"Orla weighed herring and whiting, crab and eel."}),
      episode_prompt(tokenizer_, std::vector<std::string>{"The engineer's machine never tires, and takes no sides."})};
  const auto a = build_epicache(*engine_, pool_, history, prompts, options).value();
  const auto b = build_epicache(*engine_, pool_, history, prompts, options).value();
  ASSERT_EQ(a.size(), 2U);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(a[i].positions, b[i].positions);
  EXPECT_NE(a[0].positions, a[1].positions);
  bool heads_differ = false;
  for (const auto& layer : a[0].positions) heads_differ = heads_differ || layer[0].size() != layer[1].size();
  EXPECT_TRUE(heads_differ) << "heads share one budget";
}

TEST_F(PoliciesTest, KeptEntriesCanBeCoded) {
  const std::vector<int32_t> history = prose(160);
  const auto cache =
      evicting_prefill(*engine_, pool_, history, *policy("epicache"), {.budget = 100, .block_tokens = 160}).value();
  const auto codec = quant::make_codec("turboquant-4").value();
  const auto coded = recode(cache, {std::vector(shape().layers.size(), codec)}, *pool_).value();
  EXPECT_EQ(coded.positions, cache.positions);
  EXPECT_LT(static_cast<double>(coded.bytes()), 0.36 * static_cast<double>(cache.bytes()));
  EXPECT_EQ(greedy(coded, 2).size(), 3U);
}

// Moved together, kept entries say what pages of the same tokens say in a compact view: there the query is rotated
// instead of the keys. On a model without coded weights: rounding activations to 8 bits would drown the difference.
TEST(PolicyCacheTest, KeptEntriesCanBeMovedTogether) {
  const std::string path = ::testing::TempDir() + "moved_together.gguf";
  ASSERT_TRUE(testing::write_synthetic_gguf({.n_layers = 4, .head_dim = 64}, path).ok());
  const std::shared_ptr<const runtime::Model> model = runtime::Model::load({.path = path}).value();
  std::filesystem::remove(path);
  const auto engine = runtime::Engine::create(model, {}).value();
  const auto pool = cache::MemoryPool::create(0);
  const cache::CacheShape& shape = model->cache_shape();
  const auto next_logits = [&](cache::Sequence& sequence) {
    constexpr int32_t kToken = 40;
    std::vector<float> logits;
    const runtime::StepRequest request{&sequence, {&kToken, 1}, runtime::Outputs::kLast, &logits};
    EXPECT_TRUE(engine->step({&request, 1}).ok());
    return logits;
  };
  std::vector<int32_t> history(192);
  for (size_t i = 0; i < history.size(); ++i) history[i] = static_cast<int32_t>(i * i % 200);
  const auto streaming = make_streamingllm({.sinks = 64});
  const auto cache = evicting_prefill(*engine, pool, history, *streaming, {.budget = 128, .block_tokens = 192}).value();
  const auto moved = compacted(cache, shape, *pool).value();
  EXPECT_EQ(moved.positions, cache.positions);
  cache::Sequence trunk(shape, pool);
  const runtime::StepRequest request{&trunk, history, runtime::Outputs::kNone, nullptr};
  ASSERT_TRUE(engine->step({&request, 1}).ok());
  const cache::CodecPlan plain{std::vector(shape.layers.size(), quant::make_codec("none16").value())};
  std::vector<cache::ChunkPtr> chunks;
  for (int64_t first = 0; first < 192; first += 64) chunks.push_back(trunk.freeze(64, plain, first, {}).value());
  cache::View view;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer)
    view.layers.push_back({chunks[0]->pages[layer], chunks[2]->pages[layer]});
  cache::Sequence composed(shape, pool), ours(shape, pool), apart(shape, pool);
  ASSERT_TRUE(composed.set_view(view).ok());
  ASSERT_TRUE(ours.set_view(moved.view).ok());
  ASSERT_TRUE(apart.set_view(cache.view).ok());
  EXPECT_EQ(ours.length(), 128);
  const auto expected = next_logits(composed), logits = next_logits(ours), far = next_logits(apart);
  double difference = 0, other = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    difference += std::pow(static_cast<double>(logits[i] - expected[i]), 2);
    other += std::pow(static_cast<double>(far[i] - expected[i]), 2);
  }
  EXPECT_LT(difference, 0.01 * other);
}

TEST_F(PoliciesTest, RefuseWhatCannotWork) {
  const auto snapkv = policy("snapkv");
  EXPECT_EQ(EvictingPrefill::create(*engine_, pool_, *snapkv, {.budget = 16}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(EvictingPrefill::create(*engine_, pool_, *snapkv, {.budget = 64, .block_tokens = 0}).ok());
  EXPECT_FALSE(EvictingPrefill::create(*engine_, pool_, *snapkv, {.layer_budgets = {1, 2}}).ok());
  const auto prefill = EvictingPrefill::create(*engine_, pool_, *snapkv, {.block_tokens = 8}).value();
  EXPECT_EQ(prefill->read_block(prose(9)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(prefill->read_block({}).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(build_epicache(*engine_, pool_, prose(9), std::vector<std::vector<int32_t>>{{}}, {}).ok());
}

TEST_F(PoliciesTest, SensitivityIsOfTheModelAndKeptInAFile) {
  const std::vector<int32_t> text = prose(192);
  const SensitivityOptions options{.block_tokens = 48, .sinks = 4, .recent_tokens = 16};
  const auto measured = measure_sensitivity(*engine_, pool_, text, options).value();
  ASSERT_EQ(measured.sigma.size(), 4U);
  for (const float sigma : measured.sigma[0]) EXPECT_EQ(sigma, 1.0F) << "block 0 sees everything either way";
  EXPECT_EQ(measured.s[0], 0.0F) << "keys of the first layer depend on the token alone";
  for (size_t layer = 1; layer < measured.s.size(); ++layer) {
    EXPECT_GT(measured.s[layer], 0.0F);
    EXPECT_LT(measured.s[layer], 0.5F);
  }
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "recalld-sensitivity";
  std::filesystem::create_directories(folder);
  const auto calibrate = [&] {
    return cached_sensitivity(folder.string(), *engine_, pool_, std::span(text).first(96), options).value();
  };
  const auto first = calibrate();
  EXPECT_EQ(first.size(), shape().layers.size());
  EXPECT_EQ(calibrate(), first);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) std::ofstream(entry.path()) << "0.5 nonsense";
  EXPECT_EQ(calibrate(), first);
  std::filesystem::remove_all(folder);
  EXPECT_FALSE(measure_sensitivity(*engine_, pool_, std::span(text).first(95), options).ok());
  std::printf("s_l:");
  for (const float s : measured.s) std::printf(" %.4f", static_cast<double>(s));
  std::printf("\n");
}

}  // namespace
}  // namespace recalld::episodes
