// A token group's numbers to codes on the trellis grid: the search of kernels/trellis.h, a lane per token. Included
// once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ENCODE_TRELLIS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ENCODE_TRELLIS_INL_H_
#undef RECALLD_KERNELS_CPU_ENCODE_TRELLIS_INL_H_
#else
#define RECALLD_KERNELS_CPU_ENCODE_TRELLIS_INL_H_
#endif

#include "kernels/cpu/encode_group-inl.h"
#include "kernels/trellis.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

using LaneVec = hn::Vec<LaneTag>;
using LaneInts = hn::Vec<hn::RebindToSigned<LaneTag>>;

// Sums over a band for the scale: of y times level, and of squared levels.
struct LevelSums {
  LaneVec dot, square;
};

// The paths of the tokens of some lanes through the stored dims of a side.
class TrellisPaths {
 public:
  // Finds them. to_unit: what turns the group's numbers into z.
  void search(const SideFormat& format, const Group& group, size_t lane, LaneVec to_unit) {
    const LaneTag d;
    LaneVec costs[kTrellisStates];
    for (LaneVec& cost : costs) cost = hn::Set(d, kTrellisFar);
    costs[0] = hn::Zero(d);
    int dim = 0;
    for (int band = 0; band < format.stored_bands(); ++band) {
      const Codebook& book = trellis_grid(format.bands[band].bits);
      const int end = dim + format.bands[band].n_dims;
      if (book.bits == 4) search_band<4>(book, dim, end, group, lane, to_unit, costs);
      if (book.bits == 3) search_band<3>(book, dim, end, group, lane, to_unit, costs);
      if (book.bits == 2) search_band<2>(book, dim, end, group, lane, to_unit, costs);
      dim = end;
    }
    trace_back(dim, costs);
    state_ = hn::Zero(kInts);
  }

  // Codes of the next band, dims first .. first + n_dims.
  template <class Side>
  LevelSums code_band(const Codebook& book, int first, int n_dims, const Group& group, size_t lane, LaneInts valid,
                      Side& side) {
    const LaneTag d;
    alignas(64) float levels[32];
    for (int i = 0; i < 32; ++i) levels[i] = static_cast<float>(book.levels[i]);
    const auto one = hn::Set(kInts, 1);
    LevelSums sums{hn::Zero(d), hn::Zero(d)};
    for (int dim = 0; dim < n_dims; ++dim) {
      const auto y = hn::Load(d, group.value + static_cast<size_t>(first + dim) * kTokens + lane);
      const auto path = hn::Load(kInts, path_ + at(first + dim));
      const auto flips = hn::Xor(hn::Xor(path, state_), hn::ShiftRight<3>(state_));
      const auto subset = hn::Add(hn::ShiftLeft<1>(hn::And(flips, one)), hn::And(hn::ShiftRight<1>(state_), one));
      const auto places = hn::Load(kInts, places_ + at(first + dim));
      const auto place = hn::And(places >> hn::ShiftLeft<3>(subset), hn::Set(kInts, 7));
      const auto level = hn::GatherIndex(d, levels, hn::Add(hn::ShiftLeft<2>(place), subset));
      sums.dot = hn::Add(sums.dot, hn::Mul(y, level));
      sums.square = hn::Add(sums.square, hn::Mul(level, level));
      const auto code = hn::Or(place, hn::ShiftLeftSame(path, book.bits - 1));
      side.keep(first, dim, lane, hn::And(code, valid));
      state_ = hn::And(hn::Or(hn::ShiftLeft<1>(state_), path), hn::Set(kInts, kTrellisStates - 1));
    }
    return sums;
  }

 private:
  static constexpr hn::RebindToSigned<LaneTag> kInts{};

  static size_t at(int dim) { return static_cast<size_t>(dim) * kTokens; }

  template <int bits>
  HWY_NOINLINE void search_band(const Codebook& book, int first, int end, const Group& group, size_t lane,
                                LaneVec to_unit, LaneVec* all_costs) {
    const LaneTag d;
    constexpr int kPlaces = 1 << (bits - 1);
    float value[32];
    for (int i = 0; i < 4 * kPlaces; ++i) value[i] = static_cast<float>(book.levels[i]) * book.unit;
    LaneVec costs[kTrellisStates];
    for (int i = 0; i < kTrellisStates; ++i) costs[i] = all_costs[i];
    for (int dim = first; dim < end; ++dim) {
      const auto z = hn::Mul(hn::Load(d, group.value + at(dim) + lane), to_unit);
      LaneVec of_subset[kTrellisSubsets];
      auto places = hn::Zero(kInts);
      for (int subset = 0; subset < kTrellisSubsets; ++subset) {
        auto nearest = hn::Set(d, value[subset]);
        for (int i = 0; i + 1 < kPlaces; ++i) {
          const auto above = hn::Ge(z, hn::Set(d, book.boundaries[7 * subset + i]));
          nearest = hn::IfThenElse(above, hn::Set(d, value[4 * (i + 1) + subset]), nearest);
          places = hn::Add(places, hn::IfThenElseZero(hn::RebindMask(kInts, above), hn::Set(kInts, 1 << 8 * subset)));
        }
        const auto error = hn::Sub(z, nearest);
        of_subset[subset] = hn::Mul(error, error);
      }
      hn::Store(places, kInts, places_ + at(dim));
      LaneVec next[kTrellisStates];
      auto from_upper = hn::Zero(kInts);
      constexpr int kUpper = kTrellisStates / 2;
      for (int lower = 0; lower < kUpper; ++lower) {
        for (int input = 0; input < 2; ++input) {
          const auto low = hn::Add(costs[lower], of_subset[trellis_subset(lower, input)]);
          const auto high = hn::Add(costs[lower + kUpper], of_subset[trellis_subset(lower + kUpper, input)]);
          const auto upper = hn::RebindMask(kInts, hn::Lt(high, low));
          next[2 * lower + input] = hn::Min(high, low);
          from_upper = hn::Or(from_upper, hn::IfThenElseZero(upper, hn::Set(kInts, 1 << (2 * lower + input))));
        }
      }
      hn::Store(from_upper, kInts, from_upper_ + at(dim));
      for (int i = 0; i < kTrellisStates; ++i) costs[i] = next[i];
    }
    for (int i = 0; i < kTrellisStates; ++i) all_costs[i] = costs[i];
  }

  void trace_back(int n_dims, const LaneVec* costs) {
    const auto one = hn::Set(kInts, 1);
    auto least = costs[0];
    auto state = hn::Zero(kInts);
    for (int i = 1; i < kTrellisStates; ++i) {
      state = hn::IfThenElse(hn::RebindMask(kInts, hn::Lt(costs[i], least)), hn::Set(kInts, i), state);
      least = hn::Min(costs[i], least);
    }
    for (int dim = n_dims - 1; dim >= 0; --dim) {
      hn::Store(hn::And(state, one), kInts, path_ + at(dim));
      const auto upper = hn::And(hn::Load(kInts, from_upper_ + at(dim)) >> state, one);
      state = hn::Or(hn::ShiftRight<1>(state), hn::ShiftLeft<kTrellisMemory - 1>(upper));
    }
  }

  // By dim, a lane per token: bit s says that the path into state s comes from the upper of two; the places next to z
  // in the four subsets, a byte each; the path bits.
  alignas(64) int32_t from_upper_[kMaxHeadDim * kTokens];
  alignas(64) int32_t places_[kMaxHeadDim * kTokens];
  alignas(64) int32_t path_[kMaxHeadDim * kTokens];
  LaneInts state_;
};

#endif

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ENCODE_TRELLIS_INL_H_
