// Views whose keys stay where they were rotated, with other entries in every head; and a look at a step's queries.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cache/attention_probe.h"
#include "tests/cache/cache_fixture.h"

namespace recalld::cache {
namespace {

constexpr int kTokens = 180;

struct Rows {
  Vectors k, v;  // [token][kv head][dim], as the cache holds them
};

Rows read_all(const Sequence& sequence, int layer) {
  const LayerShape& dims = sequence.shape().layers[static_cast<size_t>(layer)];
  Rows rows;
  rows.k.resize(static_cast<size_t>(sequence.length() * dims.n_kv_heads * dims.head_dim));
  rows.v.resize(rows.k.size());
  EXPECT_TRUE(sequence.read_rows(layer, 0, sequence.length(), rows.k.data(), rows.v.data()).ok());
  return rows;
}

// A page of one head with the rows at `positions`.
PagePtr page_of(const LayerShape& dims, const Rows& rows, int layer, int head, const std::vector<int>& positions) {
  const auto codec = quant::make_codec("none16").value();
  const size_t dim = static_cast<size_t>(dims.head_dim);
  Vectors k, v;
  for (const int position : positions) {
    const auto at = static_cast<ptrdiff_t>(static_cast<size_t>(position * dims.n_kv_heads + head) * dim);
    k.insert(k.end(), rows.k.begin() + at, rows.k.begin() + at + dims.head_dim);
    v.insert(v.end(), rows.v.begin() + at, rows.v.begin() + at + dims.head_dim);
  }
  quant::PageMeta meta;
  meta.layer = layer;
  meta.n_kv_heads = 1;
  meta.head_dim = dims.head_dim;
  meta.n_tokens = static_cast<int32_t>(positions.size());
  meta.rope_start = positions.front();
  const auto buffer = std::make_shared<AlignedBuffer>(codec->page_bytes(1, dims.head_dim, meta.n_tokens));
  EXPECT_TRUE(codec->encode_page(meta, k.data(), v.data(), buffer->span()).ok());
  return std::make_shared<Page>(buffer, quant::parse_page(buffer->span()).value(), codec, head);
}

std::vector<int> every(int first, int last, int step) {
  std::vector<int> positions;
  for (int i = first; i < last; i += step) positions.push_back(i);
  return positions;
}

// Attention of the last `n` tokens of the sequence with each head's other keys limited to `kept`, in double precision.
Vectors expected(const LayerShape& dims, const Rows& rows, const std::vector<std::vector<int>>& kept, const Vectors& q,
                 int first, int n) {
  const int group = dims.n_heads / dims.n_kv_heads;
  Vectors out;
  for (int i = 0; i < n; ++i) {
    for (int head = 0; head < dims.n_heads; ++head) {
      std::vector<int> visible = kept[static_cast<size_t>(head / group)];
      for (int own = first; own <= first + i; ++own) visible.push_back(own);
      if (dims.window > 0) std::erase_if(visible, [&](int p) { return p <= first + i - dims.window; });
      std::vector<double> weights, acc(static_cast<size_t>(dims.head_dim));
      double sum = 0;
      for (const int p : visible) {
        double dot = 0;
        for (int d = 0; d < dims.head_dim; ++d)
          dot += static_cast<double>(q[static_cast<size_t>((i * dims.n_heads + head) * dims.head_dim + d)]) *
                 static_cast<double>(
                     rows.k[static_cast<size_t>((p * dims.n_kv_heads + head / group) * dims.head_dim + d)]);
        weights.push_back(std::exp(dot * static_cast<double>(dims.scale)));
        sum += weights.back();
      }
      for (size_t j = 0; j < visible.size(); ++j)
        for (int d = 0; d < dims.head_dim; ++d)
          acc[static_cast<size_t>(d)] +=
              weights[j] / sum *
              static_cast<double>(
                  rows.v[static_cast<size_t>((visible[j] * dims.n_kv_heads + head / group) * dims.head_dim + d)]);
      for (const double x : acc) out.push_back(static_cast<float>(x));
    }
  }
  return out;
}

// Remembers what it is shown.
class Recorder final : public AttentionObserver {
 public:
  explicit Recorder(const CacheShape& shape) : shape_(shape), q(shape.layers.size()) {}
  void on_queries(int layer, const float* queries, int32_t n_tokens, int32_t first, int ith, int /*nth*/) override {
    if (ith != 0) return;
    const LayerShape& dims = shape_.layers[static_cast<size_t>(layer)];
    q[static_cast<size_t>(layer)].assign(queries,
                                         queries + static_cast<ptrdiff_t>(n_tokens) * dims.n_heads * dims.head_dim);
    first_position = first;
  }

 private:
  const CacheShape& shape_;

 public:
  std::vector<Vectors> q;
  int32_t first_position = -1;
};

TEST(AsRotatedView, ScatteredEntriesOfSingleHeadsAttendAtTheirOwnPositions) {
  for (const int window : {0, 40}) {
    const CacheShape shape = make_shape(2, 6, 2, 64, window);
    const History history(shape, kTokens + 12, 11);
    Sequence whole(shape, MemoryPool::create(0));
    history.step(whole, 0, kTokens);
    // A windowed layer keeps consecutive entries; others any.
    const std::vector<std::vector<int>> kept =
        window > 0 ? std::vector{every(kTokens - 60, kTokens, 1), every(kTokens - 45, kTokens, 1)}
                   : std::vector{every(3, kTokens, 7), every(0, 90, 1)};
    View view;
    view.layers.resize(2);
    view.placement = Placement::kAsRotated;
    view.query_start = kTokens;
    for (int layer = 0; layer < 2; ++layer) {
      const Rows rows = read_all(whole, layer);
      for (int head = 0; head < 2; ++head)
        view.layers[static_cast<size_t>(layer)].push_back(
            page_of(shape.layers[0], rows, layer, head, kept[static_cast<size_t>(head)]));
    }
    Sequence evicted(shape, MemoryPool::create(0));
    ASSERT_TRUE(evicted.set_view(view).ok());
    EXPECT_EQ(evicted.length(), kTokens);
    EXPECT_EQ(evicted.view().tokens(0), window > 0 ? 60 : 90);
    // The same tokens at the same positions in both: the full sequence gives the rows, the other the outputs.
    for (const int n : {1, 10}) {
      const int first = evicted.length();
      Recorder recorder(shape);
      evicted.set_observer(&recorder);
      const auto outputs = history.step(evicted, first, n, 2);
      EXPECT_EQ(recorder.first_position, first);
      history.step(whole, first, n);
      for (int layer = 0; layer < 2; ++layer) {
        const auto id = static_cast<size_t>(layer);
        std::vector<std::vector<int>> visible = kept;
        for (auto& head : visible)
          for (int p = kTokens; p < first; ++p) head.push_back(p);
        const Vectors reference = expected(shape.layers[id], read_all(whole, layer), visible, recorder.q[id], first, n);
        EXPECT_LT(relative_error(outputs[id].data(), reference.data(), reference.size()), 1e-5)
            << "layer " << layer << " window " << window << " step of " << n;
      }
    }
  }
}

TEST(AsRotatedView, KeepsItsRulesAboutPages) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 80, 12);
  Sequence whole(shape, MemoryPool::create(0));
  history.step(whole, 0, 70);
  const Rows rows = read_all(whole, 0);
  View view;
  view.layers = {{page_of(shape.layers[0], rows, 0, 1, every(10, 50, 2))}, {}};
  Sequence sequence(shape, MemoryPool::create(0));
  EXPECT_EQ(sequence.set_view(view).code(), StatusCode::kInvalidArgument) << "a compact view needs all heads";
  view.placement = Placement::kAsRotated;
  view.query_start = 20;
  EXPECT_EQ(sequence.set_view(view).code(), StatusCode::kInvalidArgument) << "the query would stand among the keys";
  view.query_start = 70;
  ASSERT_TRUE(sequence.set_view(view).ok());
  EXPECT_EQ(sequence.length(), 70);
  history.step(sequence, 70, 4);
  EXPECT_EQ(sequence.freeze(2, plan_of(shape, "none16"), 70, {}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(sequence.replace_layer(0, {}).ok());
  EXPECT_EQ(sequence.working_tokens(), 4);
  EXPECT_EQ(sequence.view().tokens(0), 0);
  EXPECT_FALSE(whole.replace_layer(0, {}).ok()) << "compact views are made as a whole";
}

// A step that is looked at and forgotten leaves nothing behind, and its weights are those of a softmax.
TEST(AttentionProbe, LooksWithoutTouching) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 160, 13);
  Sequence sequence(shape, MemoryPool::create(0)), twin(shape, MemoryPool::create(0));
  history.step(sequence, 0, 100);
  history.step(twin, 0, 100);
  const Rows before = read_all(sequence, 1);

  for (const bool own_keys : {false, true}) {
    ProbeRule rule;
    rule.reduce = kernels::WeightReduce::kSum;
    rule.first_query = 105;
    if (!own_keys) rule.end_key = 100;
    AttentionProbe probe(sequence, rule);
    sequence.set_observer(&probe);
    history.step(sequence, 120, 30, 2);
    sequence.set_observer(nullptr);
    ASSERT_TRUE(sequence.truncate(100).ok());
    for (int layer = 0; layer < 2; ++layer) {
      for (int head = 0; head < 2; ++head) {
        const auto& weights = probe.weights(layer, head);
        ASSERT_EQ(weights.size(), own_keys ? 130U : 100U);
        EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 25 * 3, 1e-3);
      }
    }
  }

  const Rows after = read_all(sequence, 1);
  EXPECT_EQ(before.k, after.k);
  EXPECT_EQ(before.v, after.v);
  EXPECT_EQ(history.step(sequence, 100, 3), history.step(twin, 100, 3));
}

// Scores belong to KV heads: the order of a group's query heads says nothing.
TEST(AttentionProbe, ForgetsTheOrderInsideAGroup) {
  const CacheShape shape = make_shape(1, 6, 2, 64);
  const History history(shape, 90, 14);
  Sequence sequence(shape, MemoryPool::create(0));
  history.step(sequence, 0, 80);
  Recorder recorder(shape);
  sequence.set_observer(&recorder);
  history.step(sequence, 80, 10);
  const Vectors& q = recorder.q[0];
  Vectors swapped = q;
  for (int token = 0; token < 10; ++token)  // heads 0 and 2, of the first group
    std::swap_ranges(swapped.begin() + token * 384, swapped.begin() + token * 384 + 64,
                     swapped.begin() + token * 384 + 128);
  KeyWeightScratch scratch;
  for (int head = 0; head < 2; ++head) {
    std::vector<float> a, b;
    sequence.weigh_keys(0, head, {q.data(), 10, 80}, 80, kernels::WeightReduce::kMax, scratch, a);
    sequence.weigh_keys(0, head, {swapped.data(), 10, 80}, 80, kernels::WeightReduce::kMax, scratch, b);
    EXPECT_EQ(a.size(), 80U);
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace recalld::cache
