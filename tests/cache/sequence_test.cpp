#include "cache/sequence.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/cache/cache_fixture.h"
#include "tests/quant/calibration_fixture.h"

namespace recalld::cache {
namespace {

constexpr double kHalfError = 2e-3;  // K and V in 16 bits: 2^-11 relative each, amplified by the softmax

std::vector<int> first_n(int n) {
  std::vector<int> tokens(static_cast<size_t>(n));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

// Largest relative error of a step's outputs against what each token should see.
double step_error(const History& history, const CacheShape& shape, const std::vector<Vectors>& outputs,
                  const std::vector<int>& before, int first, int n) {
  double worst = outputs.empty() ? 1e9 : 0;
  for (size_t layer = 0; layer < outputs.size(); ++layer) {
    const size_t row =
        static_cast<size_t>(shape.layers[layer].n_heads) * static_cast<size_t>(shape.layers[layer].head_dim);
    std::vector<int> visible = before;
    for (int i = 0; i < n; ++i) {
      visible.push_back(first + i);
      const Vectors expected = history.expected(layer, first + i, visible);
      worst =
          std::max(worst, relative_error(outputs[layer].data() + static_cast<size_t>(i) * row, expected.data(), row));
    }
  }
  return worst;
}

TEST(Sequence, WorkingRowsAttendLikeTheReference) {
  for (const bool neox : {false, true}) {
    const CacheShape shape = make_shape(2, 6, 2, 64, 0, neox);
    const History history(shape, 100, 1);
    Sequence sequence(shape, MemoryPool::create(0));
    int at = 0;
    for (const int n : {37, 1, 1, 5, 40, 2, 14}) {
      const auto outputs = history.step(sequence, at, n, 3);
      EXPECT_LT(step_error(history, shape, outputs, first_n(at), at, n), kHalfError) << "step of " << n << " at " << at;
      at += n;
      EXPECT_EQ(sequence.length(), at);
    }
  }
}

TEST(Sequence, SlidingWindowHidesOldTokens) {
  const CacheShape shape = make_shape(1, 4, 1, 80, 16);
  const History history(shape, 60, 2);
  Sequence sequence(shape, MemoryPool::create(0));
  EXPECT_LT(step_error(history, shape, history.step(sequence, 0, 40), {}, 0, 40), kHalfError);
  EXPECT_LT(step_error(history, shape, history.step(sequence, 40, 1), first_n(40), 40, 1), kHalfError);
}

TEST(Sequence, FreezingToSixteenBitsChangesNothing) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 200, 3);
  Sequence plain(shape, MemoryPool::create(0)), paged(shape, MemoryPool::create(0));
  history.step(plain, 0, 150);
  history.step(paged, 0, 150);
  ASSERT_TRUE(paged.freeze(16, plan_of(shape, "none16"), 0, {}).ok());
  ASSERT_TRUE(paged.freeze(100, plan_of(shape, "none16"), 16, {}).ok());
  EXPECT_EQ(paged.length(), 150);
  EXPECT_EQ(paged.working_tokens(), 34);
  for (const int n : {1, 9}) {
    const int at = plain.length();
    const auto a = history.step(plain, at, n), b = history.step(paged, at, n);
    for (size_t layer = 0; layer < a.size(); ++layer)
      EXPECT_LT(relative_error(b[layer].data(), a[layer].data(), a[layer].size()), 1e-5);
  }
}

TEST(Sequence, CodedPagesStayCloseAndCostFewBytes) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 300, 4);
  for (const auto& [codec, bound] :
       std::vector<std::pair<std::string, double>>{{"turboquant-4", 0.2}, {"turboquant-3", 0.35}}) {
    Sequence sequence(shape, MemoryPool::create(0));
    history.step(sequence, 0, 256);
    ASSERT_TRUE(sequence.freeze(128, plan_of(shape, codec), 0, {}).ok());
    ASSERT_TRUE(sequence.freeze(128, plan_of(shape, codec), 128, {}).ok());
    EXPECT_LT(step_error(history, shape, history.step(sequence, 256, 1), first_n(256), 256, 1), bound) << codec;
    EXPECT_LT(step_error(history, shape, history.step(sequence, 257, 20), first_n(257), 257, 20), bound) << codec;
    EXPECT_LT(sequence.view().bytes(), 256 * shape.f16_bytes_per_token() / 3);
  }
}

// Pages of three far-apart parts in a new order, at compact positions, against keys re-rotated to their new places.
void expect_composed(const CacheShape& shape, const CodecPlan& plan, double bound) {
  const History history(shape, 700, 5);
  Sequence trunk(shape, MemoryPool::create(0));
  history.step(trunk, 0, 640);
  std::vector<ChunkPtr> chunks;
  for (int page = 0; page < 10; ++page) chunks.push_back(trunk.freeze(64, plan, page * 64, {}).value());
  View view;
  view.layers.resize(2);
  std::vector<int> visible;
  for (const int page : {7, 0, 4}) {
    for (size_t layer = 0; layer < 2; ++layer)
      view.layers[layer].push_back(chunks[static_cast<size_t>(page)]->pages[layer]);
    for (int i = 0; i < 64; ++i) visible.push_back(page * 64 + i);
  }
  Sequence composed(shape, MemoryPool::create(0));
  ASSERT_TRUE(composed.set_view(view).ok());
  EXPECT_EQ(composed.length(), 192);
  EXPECT_LT(step_error(history, shape, history.step(composed, 650, 10, 2), visible, 650, 10), bound);
  for (int i = 0; i < 10; ++i) visible.push_back(650 + i);
  EXPECT_LT(step_error(history, shape, history.step(composed, 660, 1, 2), visible, 660, 1), bound);
}

TEST(Sequence, ComposedViewEqualsReRotatedKeys) {
  for (const bool neox : {false, true}) {
    const CacheShape shape = make_shape(2, 6, 2, 64, 0, neox);
    expect_composed(shape, plan_of(shape, "none16"), kHalfError);
    // The largest codes: what is left of an error of 0.0095 of each vector's energy.
    expect_composed(shape, plan_of(shape, "turboquant-4"), 0.2);
  }
}

// Keys that a codec turns back by their page's position meet queries that are turned as far.
TEST(Sequence, ComposedViewOfTurnedKeysEqualsReRotatedKeys) {
  for (const bool neox : {false, true}) {
    const CacheShape shape = make_shape(2, 6, 2, 64, 0, neox);
    quant::Calibration made = testing::random_calibration(64, 2);
    for (quant::LayerCalibration& layer : made.layers) {
      layer.rope = *shape.layers[0].rope;
      for (quant::LayerBits& bits : layer.bits) bits = {{4, 4, 4, 4}, {4, 4, 4, 4}};
      for (quant::HeadCalibration& head : layer.heads) {
        head.key_mean.assign(64, 0);
        for (quant::SideMap* map : {&head.k, &head.v}) map->forward = testing::identity_map(64);
      }
    }
    const auto calibration = testing::filed(made);
    expect_composed(shape, {quant::make_codecs("calibrated-4", 2, calibration.get()).value()}, 0.25);
  }
}

TEST(Sequence, LayersMayHoldDifferentPages) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 300, 6);
  Sequence trunk(shape, MemoryPool::create(0));
  history.step(trunk, 0, 256);
  const ChunkPtr a = trunk.freeze(128, plan_of(shape, "none16"), 0, {}).value();
  const ChunkPtr b = trunk.freeze(128, plan_of(shape, "none16"), 128, {}).value();
  View view;
  view.layers = {{a->pages[0], b->pages[0]}, {b->pages[1]}};
  Sequence uneven(shape, MemoryPool::create(0));
  ASSERT_TRUE(uneven.set_view(view).ok());
  EXPECT_EQ(uneven.length(), 256);
  const auto outputs = history.step(uneven, 260, 1);
  ASSERT_EQ(outputs.size(), 2U);
  std::vector<int> all = first_n(256);
  all.push_back(260);
  const Vectors expected = history.expected(0, 260, all);
  EXPECT_LT(relative_error(outputs[0].data(), expected.data(), expected.size()), kHalfError);
  // In layer 1 the page lies at view positions 0..127, the query at 256: the same relative places as with 128 hidden
  // tokens between them.
  EXPECT_EQ(uneven.freeze(1, plan_of(shape, "none16"), 256, {}).status().code(), StatusCode::kFailedPrecondition);
}

TEST(Sequence, TruncateForgetsRowsAndKeepsTheRest) {
  const CacheShape shape = make_shape(1, 4, 2, 64);
  const History history(shape, 200, 7);
  Sequence sequence(shape, MemoryPool::create(0));
  history.step(sequence, 0, 100);
  const auto before = history.step(sequence, 100, 1);
  history.step(sequence, 101, 70);
  ASSERT_TRUE(sequence.truncate(100).ok());
  const auto after = history.step(sequence, 100, 1);
  EXPECT_EQ(before, after);
  ASSERT_TRUE(sequence.freeze(64, plan_of(shape, "none16"), 0, {}).ok());
  EXPECT_EQ(sequence.truncate(63).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(sequence.truncate(500).code(), StatusCode::kInvalidArgument);
}

TEST(Sequence, ARejectedStepLeavesNoTrace) {
  const CacheShape shape = make_shape(1, 4, 2, 64);
  const History history(shape, 300, 8);
  const auto pool = MemoryPool::create(2 * 64 * shape.f16_bytes_per_token());
  Sequence sequence(shape, pool);
  history.step(sequence, 0, 100);
  const size_t used = pool->used();
  EXPECT_EQ(sequence.begin_step(100).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(sequence.length(), 100);
  EXPECT_EQ(pool->used(), used);
  EXPECT_LT(step_error(history, shape, history.step(sequence, 100, 3), first_n(100), 100, 3), kHalfError);
}

TEST(Sequence, ExportedRowsComeBackBitForBit) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 500, 9);
  Sequence original(shape, MemoryPool::create(0));
  history.step(original, 0, 400);
  ASSERT_TRUE(original.freeze(128, plan_of(shape, "turboquant-4"), 0, {}).ok());
  const std::vector<ChunkPtr> rows{original.export_rows(128, 200, 128, {}).value(),
                                   original.export_rows(328, 72, 328, {}).value()};
  EXPECT_FALSE(original.export_rows(127, 10, 127, {}).ok()) << "row 127 is in a page";
  EXPECT_FALSE(original.export_rows(391, 10, 391, {}).ok());
  Sequence restored(shape, MemoryPool::create(0));
  ASSERT_TRUE(restored.set_view(original.view()).ok());
  for (const ChunkPtr& chunk : rows) ASSERT_TRUE(restored.import_rows(*chunk).ok());
  EXPECT_EQ(restored.length(), original.length());
  EXPECT_EQ(history.step(original, 400, 1), history.step(restored, 400, 1));
  EXPECT_EQ(history.step(original, 401, 30), history.step(restored, 401, 30));
  EXPECT_FALSE(restored.import_rows(*rows[0]).ok());
}

TEST(Sequence, UniformStepsDoNotDependOnTheirCut) {
  const CacheShape shape = make_shape(2, 6, 2, 64);
  const History history(shape, 300, 10);
  Sequence whole(shape, MemoryPool::create(0)), pieces(shape, MemoryPool::create(0));
  for (Sequence* sequence : {&whole, &pieces}) {
    sequence->set_uniform(true);
    history.step(*sequence, 0, 128);
    ASSERT_TRUE(sequence->freeze(128, plan_of(shape, "turboquant-4"), 0, {}).ok());
  }
  const auto together = history.step(whole, 128, 60);
  int done = 0;
  for (const int n : {1, 3, 16, 2, 38}) {
    const auto part = history.step(pieces, 128 + done, n);
    for (size_t layer = 0; layer < part.size(); ++layer)
      for (size_t i = 0; i < part[layer].size(); ++i)
        ASSERT_EQ(part[layer][i], together[layer][static_cast<size_t>(done) * 6 * 64 + i]);
    done += n;
  }
}

TEST(Sequence, AViewOfAnotherShapeIsRefused) {
  const CacheShape shape = make_shape(1, 4, 2, 64), other = make_shape(1, 4, 1, 64);
  const History history(shape, 20, 11);
  Sequence sequence(shape, MemoryPool::create(0)), stranger(other, MemoryPool::create(0));
  history.step(sequence, 0, 16);
  ASSERT_TRUE(sequence.freeze(16, plan_of(shape, "none16"), 0, {}).ok());
  EXPECT_EQ(stranger.set_view(sequence.view()).code(), StatusCode::kInvalidArgument);
}

// A global layer, then one with a window, as Gemma 3 has: wide heads, one KV head.
CacheShape windowed_shape(int window) {
  CacheShape shape = make_shape(2, 4, 1, 256, 0, true);
  shape.layers[1].window = window;
  return shape;
}

// Windows count view positions: the pages of a composed view, in blocks and while decoding, for every codec.
TEST(Sequence, WindowsCountPositionsOfTheView) {
  const CacheShape shape = windowed_shape(100);
  const History history(shape, 700, 11);
  for (const auto& [codec, bound] : std::vector<std::pair<std::string, double>>{
           {"none16", kHalfError}, {"turboquant-4", 0.2}, {"turboquant-3", 0.35}, {"turboquant-2", 0.7}}) {
    Sequence trunk(shape, MemoryPool::create(0));
    history.step(trunk, 0, 640);
    std::vector<ChunkPtr> chunks;
    for (int page = 0; page < 10; ++page)
      chunks.push_back(trunk.freeze(64, plan_of(shape, codec), page * 64, {}).value());
    View view;
    view.layers.resize(2);
    std::vector<int> visible;
    for (const int page : {7, 0, 4, 2}) {
      for (size_t layer = 0; layer < 2; ++layer)
        view.layers[layer].push_back(chunks[static_cast<size_t>(page)]->pages[layer]);
      for (int i = 0; i < 64; ++i) visible.push_back(page * 64 + i);
    }
    Sequence composed(shape, MemoryPool::create(0));
    ASSERT_TRUE(composed.set_view(view).ok());
    int at = 640;
    for (const int n : {1, 40, 3, 1}) {
      EXPECT_LT(step_error(history, shape, history.step(composed, at, n, 2), visible, at, n), bound)
          << codec << ", step of " << n;
      for (int i = 0; i < n; ++i) visible.push_back(at + i);
      at += n;
    }
  }
}

// What lies outside the window of every query need not be in the view at all.
TEST(Sequence, LayersWithAWindowNeedItsPagesAlone) {
  for (const char* codec : {"none16", "turboquant-4"}) {
    const CacheShape shape = windowed_shape(100);
    const History history(shape, 700, 12);
    Sequence whole(shape, MemoryPool::create(0));
    history.step(whole, 0, 512);
    std::vector<ChunkPtr> chunks;
    for (int page = 0; page < 4; ++page)
      chunks.push_back(whole.freeze(128, plan_of(shape, codec), page * 128, {}).value());
    View view = whole.view();
    view.layers[1].erase(view.layers[1].begin(), view.layers[1].end() - 1);
    Sequence lean(shape, MemoryPool::create(0));
    ASSERT_TRUE(lean.set_view(view).ok());
    ASSERT_EQ(lean.length(), whole.length());
    int at = 512;
    for (const int n : {1, 50, 2, 1}) {
      EXPECT_EQ(history.step(lean, at, n), history.step(whole, at, n)) << codec << ", step of " << n;
      at += n;
    }
    EXPECT_TRUE(lean.freeze(40, plan_of(shape, codec), 512, {}).ok());
    EXPECT_TRUE(whole.freeze(40, plan_of(shape, codec), 512, {}).ok());
    EXPECT_EQ(history.step(lean, at, 1), history.step(whole, at, 1)) << codec;
  }
}

}  // namespace
}  // namespace recalld::cache
