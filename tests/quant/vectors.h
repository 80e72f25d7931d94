// Seeded test vectors, and the targets every kernel is run on.
#pragma once

#include <hwy/targets.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace recalld::testing {

inline const std::vector<int> kHeadDims = {64, 80, 96, 128, 256};

// n * head_dim values; every kind is deterministic in its seed.
enum class Kind { kGaussian, kConstant, kWalshRow, kOneHotNoise, kStudentT, kLogNormalChannels, kOneSparse, kBigMean };

inline std::vector<float> vectors(Kind kind, int n, int head_dim, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::student_t_distribution<float> student(2.0F);
  std::vector<float> channel(static_cast<size_t>(head_dim));
  for (float& deviation : channel) deviation = std::exp(1.5F * normal(random));
  std::vector<float> out(static_cast<size_t>(n) * static_cast<size_t>(head_dim));
  for (int row = 0; row < n; ++row) {
    const int hot = static_cast<int>(random() % static_cast<uint64_t>(head_dim));
    for (int i = 0; i < head_dim; ++i) {
      float& x = out[static_cast<size_t>(row) * static_cast<size_t>(head_dim) + static_cast<size_t>(i)];
      switch (kind) {
        case Kind::kGaussian:
          x = normal(random);
          break;
        case Kind::kConstant:
          x = 1.0F + static_cast<float>(row % 7);
          break;
        case Kind::kWalshRow:
          x = __builtin_popcount(static_cast<unsigned>(i & hot)) % 2 == 0 ? 1.0F : -1.0F;
          break;
        case Kind::kOneHotNoise:
          x = (i == hot ? 20.0F : 0.0F) + normal(random);
          break;
        case Kind::kStudentT:
          x = student(random);
          break;
        case Kind::kLogNormalChannels:
          x = channel[static_cast<size_t>(i)] * normal(random);
          break;
        case Kind::kOneSparse:
          x = i == hot ? 3.0F : 0.0F;
          break;
        case Kind::kBigMean:
          x = normal(random) + 1.0F;
          break;
      }
    }
  }
  return out;
}

// Runs `body` once for each instruction set this processor has, then restores the choice.
template <class Body>
void for_each_target(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    body(hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace recalld::testing
