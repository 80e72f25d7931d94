#include "quant/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kernels/encode.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using ::testing::HasSubstr;
using testing::kHeadDims;
using testing::Kind;
using testing::vectors;

struct Rows {
  std::vector<float> k, v;
};

PageMeta meta_of(int n_tokens, int n_kv_heads, int head_dim) {
  PageMeta meta;
  meta.n_kv_heads = n_kv_heads;
  meta.head_dim = head_dim;
  meta.n_tokens = n_tokens;
  return meta;
}

AlignedBuffer encode(const Codec& codec, const PageMeta& meta, const Rows& rows) {
  AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  const Status status = codec.encode_page(meta, rows.k.data(), rows.v.data(), page.span());
  EXPECT_TRUE(status.ok()) << status.to_string();
  return page;
}

Rows decode(const Codec& codec, const AlignedBuffer& page) {
  const PageView view = verify_page(page.span()).value();
  const auto values = static_cast<size_t>(view.meta.n_tokens * view.meta.n_kv_heads * view.meta.head_dim);
  Rows rows{std::vector<float>(values), std::vector<float>(values)};
  EXPECT_TRUE(codec.decode_page(view, rows.k.data(), rows.v.data()).ok());
  return rows;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& back) {
  double error = 0, square = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(static_cast<double>(x[i]) - back[i], 2);
    square += static_cast<double>(x[i]) * x[i];
  }
  return error / square;
}

TEST(Codec, NamesMakeTheCodecTheyName) {
  std::vector<std::string> expected = {"none16"};
  for (const std::string family : {"turboquant-", "trellis-"})
    for (const std::string plain : {"", "-plain"})
      for (const std::string widths : {"4", "3", "2", "k4v3", "k4v2", "k3v2"})
        expected.push_back(family + widths + plain);
  EXPECT_EQ(expected, codec_names());
  std::set<std::string> digests;
  for (const std::string& name : expected) {
    const auto codec = make_codec(name);
    ASSERT_TRUE(codec.ok()) << name;
    EXPECT_EQ(name, (*codec)->name());
    EXPECT_EQ(name == "none16", (*codec)->plain_basis());
    digests.insert((*codec)->digest().hex());
    const auto again = codec_for((*codec)->tag());
    ASSERT_TRUE(again.ok()) << name;
    EXPECT_EQ(name, (*again)->name());
    EXPECT_EQ((*codec)->digest(), (*again)->digest());
  }
  EXPECT_EQ(expected.size(), digests.size());
}

TEST(Codec, UnknownNamesAndTagsAreRefusedWithTheRemedy) {
  for (const char* name : {"", "turboquant", "turboquant-5", "turboquant-k2v4", "none16-plain", "TurboQuant-4"}) {
    const auto codec = make_codec(name);
    ASSERT_FALSE(codec.ok()) << name;
    EXPECT_EQ(StatusCode::kInvalidArgument, codec.status().code());
    EXPECT_THAT(codec.status().message(), HasSubstr("turboquant-k4v3"));
  }
  CodecTag tag = make_codec("turboquant-4").value()->tag();
  tag.version = 2;
  EXPECT_EQ(StatusCode::kUnsupported, codec_for(tag).status().code());
  tag = make_codec("turboquant-4").value()->tag();
  tag.v = kernels::affine_band(4);
  EXPECT_THAT(codec_for(tag).status().message(), HasSubstr("4 bits on keys and 4 bits uniform with offsets on values"));
  tag = {.id = 99};
  EXPECT_EQ(StatusCode::kUnsupported, codec_for(tag).status().code());
  tag = make_codec("none16").value()->tag();
  tag.k = kernels::one_band(4);
  EXPECT_EQ(StatusCode::kUnsupported, codec_for(tag).status().code());
}

TEST(Codec, ASeedOfAPageIsKept) {
  CodecTag tag = make_codec("turboquant-4").value()->tag();
  const auto first = codec_for(tag).value();
  tag.parameter = 12345;
  const auto other = codec_for(tag).value();
  EXPECT_EQ(12345u, other->tag().parameter);
  EXPECT_FALSE(first->digest() == other->digest());
  const PageMeta meta = meta_of(20, 1, 64);
  const Rows rows{vectors(Kind::kGaussian, 20, 64, 1), vectors(Kind::kGaussian, 20, 64, 2)};
  const AlignedBuffer page = encode(*other, meta, rows);
  EXPECT_LT(relative_error(rows.k, decode(*other, page).k), 0.012);
  Rows wrong = rows;
  EXPECT_EQ(StatusCode::kInvalidArgument,
            first->decode_page(parse_page(page.span()).value(), wrong.k.data(), wrong.v.data()).code());
}

TEST(Codec, KeysAndValuesKeepTheirOwnWidths) {
  const double loss[] = {0, 0, 0.134, 0.0360, 0.0097};
  const struct {
    const char* name;
    int k_bits, v_bits;
  } cases[] = {{"turboquant-4", 4, 4},    {"turboquant-3", 3, 3},    {"turboquant-2", 2, 2},
               {"turboquant-k4v3", 4, 3}, {"turboquant-k4v2", 4, 2}, {"turboquant-k3v2", 3, 2}};
  for (const auto& c : cases) {
    for (const int dim : kHeadDims) {
      const int n = 97, heads = 3;
      const Rows rows{vectors(Kind::kGaussian, n, heads * dim, 3), vectors(Kind::kGaussian, n, heads * dim, 4)};
      const auto codec = make_codec(c.name).value();
      const Rows back = decode(*codec, encode(*codec, meta_of(n, heads, dim), rows));
      EXPECT_LT(relative_error(rows.k, back.k), loss[c.k_bits] * 1.02) << c.name << " dim " << dim;
      EXPECT_GT(relative_error(rows.k, back.k), loss[c.k_bits] * 0.85) << c.name << " dim " << dim;
      EXPECT_LT(relative_error(rows.v, back.v), loss[c.v_bits] * 1.02) << c.name << " dim " << dim;
      EXPECT_GT(relative_error(rows.v, back.v), loss[c.v_bits] * 0.85) << c.name << " dim " << dim;
    }
  }
}

TEST(Codec, None16IsTheRoundedHalf) {
  const auto codec = make_codec("none16").value();
  for (const int n : {1, 3, 16, 50}) {
    const Rows rows{vectors(Kind::kStudentT, n, 2 * 80, 5), vectors(Kind::kGaussian, n, 2 * 80, 6)};
    const Rows back = decode(*codec, encode(*codec, meta_of(n, 2, 80), rows));
    for (size_t i = 0; i < rows.k.size(); ++i) {
      ASSERT_EQ(half_to_float(float_to_half(rows.k[i])), back.k[i]);
      ASSERT_EQ(half_to_float(float_to_half(rows.v[i])), back.v[i]);
    }
    // Coding what came back changes nothing.
    const Rows twice = decode(*codec, encode(*codec, meta_of(n, 2, 80), back));
    EXPECT_EQ(back.k, twice.k);
    EXPECT_EQ(back.v, twice.v);
  }
}

TEST(Codec, EncodingIsDeterministicAndClearsWhatWasThere) {
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec(name).value();
    const PageMeta meta = meta_of(19, 2, 64);
    const Rows rows{vectors(Kind::kBigMean, 19, 128, 7), vectors(Kind::kGaussian, 19, 128, 8)};
    const AlignedBuffer clean = encode(*codec, meta, rows);
    AlignedBuffer dirty(clean.size());
    std::fill_n(dirty.data(), dirty.size(), std::byte{0xa5});
    ASSERT_TRUE(codec->encode_page(meta, rows.k.data(), rows.v.data(), dirty.span()).ok());
    EXPECT_TRUE(std::equal(clean.data(), clean.data() + clean.size(), dirty.data())) << name;
  }
}

// Without centring a row's bytes do not depend on the other rows of its page.
TEST(Codec, PlainPagesOfOneTokenAndOfManyAgree) {
  const auto codec = make_codec("turboquant-k4v3-plain").value();
  const int n = 23, width = 2 * 96;
  const Rows rows{vectors(Kind::kStudentT, n, width, 9), vectors(Kind::kStudentT, n, width, 10)};
  const Rows many = decode(*codec, encode(*codec, meta_of(n, 2, 96), rows));
  for (int token = 0; token < n; ++token) {
    const auto from = rows.k.begin() + token * width, v_from = rows.v.begin() + token * width;
    const Rows one{{from, from + width}, {v_from, v_from + width}};
    const Rows back = decode(*codec, encode(*codec, meta_of(1, 2, 96), one));
    EXPECT_TRUE(std::equal(back.k.begin(), back.k.end(), many.k.begin() + token * width)) << token;
    EXPECT_TRUE(std::equal(back.v.begin(), back.v.end(), many.v.begin() + token * width)) << token;
  }
}

TEST(Codec, CentringRemovesAConstantFromTheError) {
  const int n = 64, dim = 64;
  Rows rows{vectors(Kind::kGaussian, n, dim, 11), vectors(Kind::kGaussian, n, dim, 12)};
  for (size_t i = 0; i < rows.k.size(); ++i) rows.k[i] += (i % 64 == 3 ? 100.0F : 5.0F);
  const auto squared_error = [&](const char* name) {
    const auto codec = make_codec(name).value();
    const Rows back = decode(*codec, encode(*codec, meta_of(n, 1, dim), rows));
    double error = 0;
    for (size_t i = 0; i < rows.k.size(); ++i) error += std::pow(static_cast<double>(rows.k[i]) - back.k[i], 2);
    return error / static_cast<double>(rows.k.size());
  };
  // Residuals of unit variance: the Gaussian distortion, whatever the constant.
  EXPECT_LT(squared_error("turboquant-4"), 0.011);
  EXPECT_GT(squared_error("turboquant-4-plain"), 0.5);
}

TEST(Codec, ShortCentredPagesComeBack) {
  for (const int n : {1, 2, 3}) {
    const int dim = 64;
    Rows rows{vectors(Kind::kBigMean, n, dim, 13), vectors(Kind::kGaussian, n, dim, 14)};
    for (const char* name : {"turboquant-4", "turboquant-2", "trellis-4", "trellis-2"}) {
      const auto codec = make_codec(name).value();
      const double loss = relative_error(rows.k, decode(*codec, encode(*codec, meta_of(n, 1, dim), rows)).k);
      // One token is its own mean, to the rounding of a half.
      EXPECT_LT(loss, n == 1 ? 1e-6 : 0.15) << name << " n " << n;
    }
  }
}

TEST(Codec, NonFiniteInputIsZeroAndHarmsNobodyElse) {
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec(name).value();
    const int n = 20, dim = 64;
    Rows rows{vectors(Kind::kGaussian, n, dim, 15), vectors(Kind::kGaussian, n, dim, 16)};
    Rows zeroed = rows;
    for (const auto& [at, bad] :
         {std::pair{5 * 64 + 1, std::nanf("")}, std::pair{7 * 64, INFINITY}, std::pair{9 * 64 + 63, -INFINITY}}) {
      rows.k[static_cast<size_t>(at)] = rows.v[static_cast<size_t>(at)] = bad;
      zeroed.k[static_cast<size_t>(at)] = zeroed.v[static_cast<size_t>(at)] = 0;
    }
    const AlignedBuffer page = encode(*codec, meta_of(n, 1, dim), rows);
    const AlignedBuffer expected = encode(*codec, meta_of(n, 1, dim), zeroed);
    EXPECT_TRUE(std::equal(page.data(), page.data() + page.size(), expected.data())) << name;
  }
}

TEST(Codec, AllZeroPagesDecodeToZeros) {
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec(name).value();
    const Rows zeros{std::vector<float>(5 * 80), std::vector<float>(5 * 80)};
    const Rows back = decode(*codec, encode(*codec, meta_of(5, 1, 80), zeros));
    EXPECT_EQ(zeros.k, back.k) << name;
    EXPECT_EQ(zeros.v, back.v) << name;
  }
}

TEST(Codec, ShapesThatCannotBePagesAreRefused) {
  const std::vector<float> x(300 * 512);
  AlignedBuffer out(1 << 20);
  for (const std::string& name : codec_names()) {
    const auto codec = make_codec(name).value();
    const auto code_of = [&](const PageMeta& meta, size_t size) {
      return codec->encode_page(meta, x.data(), x.data(), out.span().first(size)).code();
    };
    const PageMeta good = meta_of(4, 1, 64);
    const size_t size = codec->page_bytes(1, 64, 4);
    EXPECT_EQ(StatusCode::kOk, code_of(good, size)) << name;
    EXPECT_EQ(StatusCode::kInvalidArgument, code_of(good, size - 1)) << name;
    EXPECT_EQ(StatusCode::kInvalidArgument, code_of(good, size + 1)) << name;
    for (const int dim : {0, 8, 72, 272, 512, -64})
      EXPECT_EQ(StatusCode::kInvalidArgument, code_of(meta_of(4, 1, dim), size)) << name << " dim " << dim;
    for (const int n : {0, -1, 257})
      EXPECT_EQ(StatusCode::kInvalidArgument, code_of(meta_of(n, 1, 64), size)) << name << " n " << n;
    EXPECT_EQ(StatusCode::kInvalidArgument, code_of(meta_of(4, 0, 64), size)) << name;
  }
}

}  // namespace
}  // namespace recalld::quant
