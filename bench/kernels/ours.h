// recalld's attention on pages of random codes.
#pragma once

#include <random>
#include <vector>

#include "bench/kernels/problem.h"
#include "kernels/attend.h"

namespace recalld::bench {

class OurAttention {
 public:
  // format: of both sides; may have kAllDims.
  OurAttention(const Problem& problem, const kernels::SideFormat& format);
  // One attention over one layer, on this thread.
  void run(int layer);

 private:
  Problem problem_;
  std::vector<AlignedBuffer> buffers_;
  std::vector<std::vector<kernels::PageSlice>> pages_;  // [layer * n_kv_heads + head]
  std::vector<int32_t> positions_;
  std::vector<float> q_, m_, l_, acc_;
  kernels::AttendScratch scratch_;
};

}  // namespace recalld::bench
