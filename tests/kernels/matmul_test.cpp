#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/bytes.h"

namespace recalld::kernels {
namespace {

struct Case {
  WeightFormat format;
  int32_t n_in, n_out;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const WeightFormat format : {WeightFormat::kQ4_0, WeightFormat::kQ4_1, WeightFormat::kQ8_0}) {
    for (const int32_t n_in : {32, 64, 96, 128, 160, 576, 1536}) {
      for (const int32_t n_out : {1, 7, 16, 33, 64}) all.push_back({format, n_in, n_out});
    }
  }
  return all;
}

// Random blocks, exactly as long as the matrix: reading past its end is an error that ASan sees.
std::vector<std::byte> random_weights(const Case& c, std::mt19937& random) {
  const size_t block = weight_block_bytes(c.format);
  std::vector<std::byte> bytes(static_cast<size_t>(c.n_out) * (c.n_in / kWeightBlock) * block);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  std::uniform_real_distribution<float> scale(0.001F, 0.1F);
  for (size_t at = 0; at < bytes.size(); at += block) {
    const uint16_t d = float_to_half(scale(random));
    const uint16_t m = float_to_half(scale(random) - 0.05F);
    std::memcpy(&bytes[at], &d, sizeof d);
    if (c.format == WeightFormat::kQ4_1) std::memcpy(&bytes[at + 2], &m, sizeof m);
  }
  return bytes;
}

std::vector<float> random_activations(int32_t n, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 2.0F);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

class Product {
 public:
  Product(const Case& c, int32_t n_tokens, std::vector<float> x)
      : case_(c), n_tokens_(n_tokens), groups_(static_cast<size_t>(n_tokens) * activation_groups(c.n_in)) {
    for (int32_t t = 0; t < n_tokens; ++t) {
      quantize_activations(x.data() + static_cast<size_t>(t) * c.n_in, c.n_in,
                           groups_.data() + static_cast<size_t>(t) * activation_groups(c.n_in));
    }
  }
  std::vector<float> fast(const WeightMatrix& w) const {
    std::vector<float> out(static_cast<size_t>(n_tokens_) * case_.n_out, 77.0F);
    AlignedBuffer scratch(matmul_scratch_bytes(case_.n_in));
    const int32_t middle = case_.n_out / 2 / kMatmulRows * kMatmulRows;
    multiply(w, groups_.data(), n_tokens_, 0, middle, out.data(), case_.n_out, scratch.data());
    multiply(w, groups_.data(), n_tokens_, middle, case_.n_out, out.data(), case_.n_out, scratch.data());
    return out;
  }
  std::vector<float> plain(const WeightMatrix& w) const {
    std::vector<float> out(static_cast<size_t>(n_tokens_) * case_.n_out);
    reference::multiply(w, groups_.data(), n_tokens_, 0, case_.n_out, out.data(), case_.n_out);
    return out;
  }
  const std::vector<ActivationGroup>& groups() const { return groups_; }

 private:
  Case case_;
  int32_t n_tokens_;
  std::vector<ActivationGroup> groups_;
};

TEST(Matmul, EqualsTheReferenceBitForBitForAnyNumberOfTokens) {
  std::mt19937 random(1);
  for (const Case& c : cases()) {
    const auto bytes = random_weights(c, random);
    const WeightMatrix w{.format = c.format, .data = bytes.data(), .n_in = c.n_in, .n_out = c.n_out};
    for (const int32_t n_tokens : {1, 2, 3, 4, 5, 11, 12, 13, 18}) {
      const Product product(c, n_tokens, random_activations(n_tokens * c.n_in, random));
      EXPECT_EQ(product.fast(w), product.plain(w)) << c.n_in << " x " << c.n_out << ", " << n_tokens << " tokens";
    }
  }
}

TEST(Matmul, ActivationsEqualTheReferenceBitForBit) {
  std::mt19937 random(2);
  for (const int32_t n_in : {32, 96, 128, 576}) {
    auto x = random_activations(n_in, random);
    x[5] = 0.0F;
    std::fill(x.begin() + n_in - 32, x.end(), 0.0F);
    std::vector<ActivationGroup> fast(activation_groups(n_in));
    std::vector<ActivationGroup> plain(activation_groups(n_in));
    quantize_activations(x.data(), n_in, fast.data());
    reference::quantize_activations(x.data(), n_in, plain.data());
    EXPECT_EQ(std::memcmp(fast.data(), plain.data(), activation_bytes(n_in)), 0) << n_in;
  }
}

// Against the product of the decoded weights with the activations as they were: only their rounding is left, at most
// half a step of 1/127 of the largest in each block.
TEST(Matmul, DiffersFromTheExactProductByTheRoundingAlone) {
  std::mt19937 random(3);
  constexpr int32_t kIn = 256;
  const Case c{WeightFormat::kQ8_0, kIn, 16};
  const auto bytes = random_weights(c, random);
  const auto x = random_activations(kIn, random);
  const Product product(c, 1, x);
  const auto out = product.fast({.format = c.format, .data = bytes.data(), .n_in = kIn, .n_out = c.n_out});
  for (int32_t r = 0; r < c.n_out; ++r) {
    double exact = 0;
    double bound = 1e-3;
    for (int32_t b = 0; b < kIn / 32; ++b) {
      const std::byte* block = &bytes[(static_cast<size_t>(r) * (kIn / 32) + b) * 34];
      uint16_t half = 0;
      std::memcpy(&half, block, sizeof half);
      double largest = 0;
      double weights = 0;
      for (int i = 0; i < 32; ++i) {
        const double weight = half_to_float(half) * static_cast<double>(static_cast<int8_t>(block[2 + i]));
        exact += weight * x[b * 32 + i];
        weights += std::fabs(weight);
        largest = std::max(largest, std::fabs(static_cast<double>(x[b * 32 + i])));
      }
      bound += weights * largest / 127 / 2;
    }
    EXPECT_NEAR(out[r], exact, bound);
  }
}

TEST(Matmul, NotANumberStaysOne) {
  std::mt19937 random(4);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Case c{WeightFormat::kQ4_1, 64, 16};
    const auto bytes = random_weights(c, random);
    auto x = random_activations(13 * c.n_in, random);
    x[40] = bad;
    const Product product(c, 13, x);
    const auto out = product.fast({.format = c.format, .data = bytes.data(), .n_in = c.n_in, .n_out = c.n_out});
    for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i < 16) << i;
  }
}

}  // namespace
}  // namespace recalld::kernels
