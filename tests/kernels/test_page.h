// Pages of random numbers for kernel tests, written through the layout's plain accessors.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/attend.h"

namespace recalld::kernels {

// One KV head of a page that owns its bytes. Coded numbers are nearest levels of N(0,1) draws with scales near 1, so
// that keys and values look like N(0,1); offsets are draws too; padding is zero. Formats may have kAllDims.
class TestPage {
 public:
  TestPage(std::mt19937& random, int n_tokens, int head_dim, const SideFormat& k, const SideFormat& v, bool centred);

  // view_start, variant and space are 0 but may be set.
  PageSlice slice;

 private:
  AlignedBuffer k_, v_;
  AlignedBuffer k_scale_, v_scale_, k_offset_, v_offset_, k_mean_;
};

// Formats of more than one band, or of another grid, that head_dim (64 at least) allows.
std::vector<SideFormat> other_formats(int head_dim);

// "16", "4", "4x16+2x32+0x16", with "u" for the uniform grid, "t" for the trellis, "o" for offsets, "s" for scales per
// band.
std::string format_name(const SideFormat& format);

// n draws of N(0,1) times `amplitude`.
std::vector<float> normal_values(std::mt19937& random, size_t n, float amplitude = 1.0F);

// The compiled targets that this processor can run.
std::vector<int64_t> runnable_targets();

// Makes the kernels run on one target while it lives.
class UseTarget {
 public:
  explicit UseTarget(int64_t target);
  ~UseTarget();
  UseTarget(const UseTarget&) = delete;
  UseTarget& operator=(const UseTarget&) = delete;
};

}  // namespace recalld::kernels
