// The order in which everything of a page is coded in an archive, one text for writing and reading. A part of
// quant/archive.h; the bytes and the reasons: docs/archive-format.md. Coders are those of code_normal().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "quant/expectation.h"
#include "quant/normal_tables.h"
#include "quant/trellis.h"

namespace recalld::quant::archive {

// In which basis the rows of a side are coded.
enum Basis : uint8_t {
  kPlain,
  kRotated,   // the randomised Hadamard transform
  kUnturned,  // keys as they are before RoPE
};
inline constexpr int kBases = 3;

// Steps are 2^(n / 32 - 64).
inline constexpr int kStepsPerOctave = 32, kStepBias = 64 * kStepsPerOctave, kLargestStep = 2 * kStepBias - 1;
// Steps of rows are those of their side times 2^(n / 4).
inline constexpr int kRowStepsPerOctave = 4, kLargestRowStep = 40;
// The row is zero and has no indices.
inline constexpr int kZeroRow = 1000;
// Variances are 2^(n / 8).
inline constexpr int kVariancesPerOctave = 8, kLargestVariance = 255;
// A token that is large in one head is large in the next: its step is expected to be this much of that.
inline constexpr float kTrends[] = {0, 0.5F, 0.75F, 1};
// Steps of rows spread about that with a variance of 2^(n - 6); 0: they are all 0, and not coded.
inline constexpr int kLargestSpread = 15;
inline constexpr int32_t kLargestIndex = 1 << 22;

// 2^(n / 32), the same on every machine; |n| up to 4096.
inline float power(int n) {
  constexpr auto kFractions = [] {
    std::array<double, 32> powers{1.0};
    for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 1.0218971486541166;
    return powers;
  }();
  return std::ldexp(static_cast<float>(kFractions[static_cast<size_t>(n & 31)]), n >> 5);
}

// Keys or values of one KV head.
struct HeadCode {
  int step = 0, first_variance = 0, variance = 0;
  std::vector<int> row_steps;    // [tokens]
  std::vector<int32_t> indices;  // [tokens][dims]

  Prior prior() const {
    constexpr int kScale = 32 / kVariancesPerOctave;
    return {power(first_variance * kScale), power(variance * kScale)};
  }
};
inline float row_step(int step) { return power(step * (32 / kRowStepsPerOctave)); }

struct SideCode {
  Basis basis = kPlain;
  int learner = 0, trend = 0, spread = 0;
  std::vector<HeadCode> heads;
};

template <class Coder>
class Walk {
 public:
  Walk(Coder& coder, const NormalTables& tables) : coder_(coder), tables_(tables) {}

  // side: 0 keys, 1 values, pages in order, each keys first. When the coder reads, `code` has its heads, and what is in
  // them is replaced. False: what was read cannot be; the rest of `code` is anything then.
  bool side(int side, int n_tokens, int n_dims, SideCode& code) {
    uint32_t basis = code.basis, learner = static_cast<uint32_t>(code.learner),
             trend = static_cast<uint32_t>(code.trend), spread = static_cast<uint32_t>(code.spread);
    coder_.bits(basis, 2);
    coder_.bits(learner, 4);
    coder_.bits(trend, 2);
    coder_.bits(spread, 4);
    if (basis >= kBases || learner >= kLearnersCount) return false;
    code.basis = static_cast<Basis>(basis);
    code.learner = static_cast<int>(learner);
    code.trend = static_cast<int>(trend);
    code.spread = static_cast<int>(spread);
    Before& before = before_[side];
    before.row_steps.resize(static_cast<size_t>(n_tokens));
    for (HeadCode& head : code.heads) {
      number(before.step, 0, kLargestStep, head.step, 64.0F);
      number(before.variance, 0, kLargestVariance, head.variance, 4.0F);
      number(before.first_variance, 0, kLargestVariance, head.first_variance, 16.0F);
      rows(before, code, n_tokens, head);
      indices(code, n_tokens, n_dims, head);
    }
    return true;
  }

 private:
  // What was coded last of a side.
  struct Before {
    int step = kStepBias, first_variance = 38, variance = 38;
    std::vector<int> row_steps;
  };

  void number(int& before, int least, int most, int& value, float variance) {
    int64_t coded = value;
    code_normal(coder_, tables_, NormalTables::place(static_cast<float>(before), variance), coded);
    if constexpr (Coder::kReads) value = static_cast<int>(std::clamp<int64_t>(coded, least, most));
    before = value;
  }

  void rows(Before& before, const SideCode& code, int n_tokens, HeadCode& head) {
    head.row_steps.resize(static_cast<size_t>(n_tokens));
    if (code.spread == 0) {
      std::ranges::fill(head.row_steps, 0);
      return;
    }
    const float variance = power(32 * (code.spread - 6));
    for (size_t t = 0; t < head.row_steps.size(); ++t) {
      const auto expected = static_cast<float>(before.row_steps[t]) * kTrends[code.trend];
      int64_t coded = head.row_steps[t];
      code_normal(coder_, tables_, NormalTables::place(expected, variance), coded);
      if constexpr (Coder::kReads)
        head.row_steps[t] = coded == kZeroRow
                                ? kZeroRow
                                : static_cast<int>(std::clamp<int64_t>(coded, -kLargestRowStep, kLargestRowStep));
      before.row_steps[t] = head.row_steps[t] == kZeroRow ? 0 : head.row_steps[t];
    }
  }

  void indices(const SideCode& code, int n_tokens, int n_dims, HeadCode& head) {
    const auto dims = static_cast<size_t>(n_dims);
    head.indices.resize(static_cast<size_t>(n_tokens) * dims);
    Expectation expectation(kLearners[code.learner], head.prior(), n_dims);
    TrellisState state;
    float mean[kernels::kMaxHeadDim], variance[kernels::kMaxHeadDim], row[kernels::kMaxHeadDim];
    NormalPlace places[kernels::kMaxHeadDim][2];
    for (size_t t = 0; t < head.row_steps.size(); ++t) {
      int32_t* at = head.indices.data() + t * dims;
      if (head.row_steps[t] == kZeroRow) {
        if constexpr (Coder::kReads) std::fill_n(at, dims, 0);
        continue;
      }
      const float step = row_step(head.row_steps[t]);
      expectation.next(step, mean, variance);
      for (size_t j = 0; j < dims; ++j)
        for (int parity = 0; parity < 2; ++parity)
          places[j][parity] = NormalTables::place((mean[j] - static_cast<float>(parity)) * 0.5F, variance[j] * 0.25F);
      for (size_t j = 0; j < dims; ++j) {
        const int parity = state.parity();
        int64_t half = 0;
        if constexpr (!Coder::kReads) half = (at[j] - parity) / 2;
        code_normal(coder_, tables_, places[j][parity], half);
        if constexpr (Coder::kReads)
          at[j] =
              half >= -kLargestIndex / 2 && half < kLargestIndex / 2 ? static_cast<int32_t>(half) * 2 + parity : parity;
        state.advance(at[j]);
        row[j] = static_cast<float>(at[j]);
      }
      expectation.add(step, row);
    }
  }

  Coder& coder_;
  const NormalTables& tables_;
  Before before_[2];
};

}  // namespace recalld::quant::archive
