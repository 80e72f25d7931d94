// Attention over codes, through the codec's maps of query and output, against attention over the decoded vectors.
#include <gtest/gtest.h>

#include "kernels/attend.h"
#include "quant/codec.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using testing::kHeadDims;
using testing::Kind;
using testing::vectors;

struct Problem {
  int n_tokens, n_kv_heads, head_dim, n_group;
  std::vector<float> k, v, q;  // q: one token, [n_kv_heads][n_group][head_dim]

  size_t width() const { return static_cast<size_t>(n_kv_heads) * static_cast<size_t>(head_dim); }
};

Problem make_problem(int n_tokens, int head_dim, uint64_t seed) {
  Problem s{n_tokens, 2, head_dim, 3, {}, {}, {}};
  s.k = vectors(Kind::kBigMean, n_tokens, 2 * head_dim, seed);
  s.v = vectors(Kind::kGaussian, n_tokens, 2 * head_dim, seed + 1);
  s.q = vectors(Kind::kGaussian, 6, head_dim, seed + 2);
  return s;
}

// Softmax attention in doubles: [n_kv_heads][n_group][head_dim].
std::vector<double> plain_attention(const Problem& s, const std::vector<float>& k, const std::vector<float>& v) {
  const auto dim = static_cast<size_t>(s.head_dim);
  std::vector<double> out(s.q.size());
  for (size_t row = 0; row < s.q.size() / dim; ++row) {
    const size_t head = row / static_cast<size_t>(s.n_group);
    std::vector<double> weight(static_cast<size_t>(s.n_tokens));
    double top = -1e30, sum = 0;
    for (size_t t = 0; t < weight.size(); ++t) {
      for (size_t i = 0; i < dim; ++i)
        weight[t] += static_cast<double>(s.q[row * dim + i]) * k[t * s.width() + head * dim + i];
      weight[t] /= std::sqrt(static_cast<double>(dim));
      top = std::max(top, weight[t]);
    }
    for (double& w : weight) sum += w = std::exp(w - top);
    for (size_t t = 0; t < weight.size(); ++t)
      for (size_t i = 0; i < dim; ++i) out[row * dim + i] += weight[t] / sum * v[t * s.width() + head * dim + i];
  }
  return out;
}

// The way the cache does it: transformed queries, codes, restored outputs.
std::vector<float> coded_attention(const Problem& s, const Codec& codec, const PageView& page) {
  const auto dim = static_cast<size_t>(s.head_dim), rows = static_cast<size_t>(s.n_group);
  std::vector<float> out(s.q.size());
  const int32_t position = s.n_tokens;
  for (int head = 0; head < s.n_kv_heads; ++head) {
    std::vector<float> q(rows * dim), acc(rows * dim, 0.0F), m(rows, -INFINITY), l(rows, 0.0F);
    codec.transform_queries(0, head, s.head_dim, s.n_group, s.q.data() + static_cast<size_t>(head) * rows * dim,
                            q.data());
    const kernels::PageSlice slice = page.slice(head);
    const kernels::AttendState state{1, m.data(), l.data(), acc.data()};
    kernels::reference::attend({s.head_dim, s.n_group, 1 / std::sqrt(static_cast<float>(s.head_dim)), 0},
                               {1, &position, q.data()}, {&slice, 1}, state);
    codec.restore_outputs(0, head, s.head_dim, s.n_group, acc.data());
    for (size_t i = 0; i < acc.size(); ++i) out[static_cast<size_t>(head) * rows * dim + i] = acc[i] / l[i / dim];
  }
  return out;
}

AlignedBuffer encode(const Problem& s, const Codec& codec) {
  PageMeta meta;
  meta.n_kv_heads = s.n_kv_heads;
  meta.head_dim = s.head_dim;
  meta.n_tokens = s.n_tokens;
  AlignedBuffer page(codec.page_bytes(s.n_kv_heads, s.head_dim, s.n_tokens));
  const Status status = codec.encode_page(meta, s.k.data(), s.v.data(), page.span());
  EXPECT_TRUE(status.ok()) << status.to_string();
  return page;
}

TEST(CodedAttention, EqualsAttentionOverTheDecodedPage) {
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec(name).value();
    for (const int dim : kHeadDims) {
      for (const int n : {1, 3, 17, 128}) {
        const Problem s = make_problem(n, dim, 31);
        const AlignedBuffer page = encode(s, *codec);
        const PageView view = parse_page(page.span()).value();
        std::vector<float> k(s.k.size()), v(s.v.size());
        ASSERT_TRUE(codec->decode_page(view, k.data(), v.data()).ok());
        const std::vector<double> expected = plain_attention(s, k, v);
        const std::vector<float> got = coded_attention(s, *codec, view);
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(expected[i], got[i], 1e-4) << name << " dim " << dim << " n " << n << " at " << i;
      }
    }
  }
}

// A constant added to every key moves all scores of a query alike: nothing may change but rounding.
TEST(CodedAttention, AConstantInAllKeysChangesLittle) {
  const int n = 64, dim = 64;
  const Problem s = make_problem(n, dim, 41);
  Problem moved = s;
  const std::vector<float> constant = vectors(Kind::kGaussian, 1, 2 * dim, 43);
  for (size_t i = 0; i < moved.k.size(); ++i) moved.k[i] += 20 * constant[i % constant.size()];
  const auto change = [&](const char* name) {
    const auto codec = make_codec(name).value();
    const AlignedBuffer before = encode(s, *codec), after = encode(moved, *codec);
    const auto a = coded_attention(s, *codec, parse_page(before.span()).value());
    const auto b = coded_attention(moved, *codec, parse_page(after.span()).value());
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, static_cast<double>(std::fabs(a[i] - b[i])));
    return worst;
  };
  EXPECT_LT(change("turboquant-4"), 0.05);
  EXPECT_GT(change("turboquant-4-plain"), 0.2);
}

TEST(CodedAttention, FewerBitsLoseMore) {
  const Problem s = make_problem(256, 128, 51);
  const std::vector<double> exact = plain_attention(s, s.k, s.v);
  double square = 0;
  for (const double x : exact) square += x * x;
  const auto loss = [&](const char* name) {
    const auto codec = make_codec(name).value();
    const AlignedBuffer page = encode(s, *codec);
    const auto got = coded_attention(s, *codec, parse_page(page.span()).value());
    double error = 0;
    for (size_t i = 0; i < got.size(); ++i) error += std::pow(exact[i] - got[i], 2);
    return error / square;
  };
  const double four = loss("turboquant-4"), k4v2 = loss("turboquant-k4v2"), two = loss("turboquant-2");
  EXPECT_LT(loss("none16"), 1e-5);
  EXPECT_LT(four, 0.05);
  EXPECT_LT(four, k4v2);
  EXPECT_LT(k4v2, two);
}

TEST(CodedAttention, QueriesMayBeTransformedInPlace) {
  for (const char* name : {"none16", "turboquant-4", "trellis-3"}) {
    const auto codec = make_codec(name).value();
    std::vector<float> q = vectors(Kind::kGaussian, 3, 80, 61), out(q.size());
    codec->transform_queries(0, 0, 80, 3, q.data(), out.data());
    codec->transform_queries(0, 0, 80, 3, q.data(), q.data());
    EXPECT_EQ(out, q) << name;
  }
}

}  // namespace
}  // namespace recalld::quant
