// What attend_decode and attend_block do alike on the host before a launch.
#pragma once

#include "kernels/cuda/attend.h"
#include "kernels/cuda/lane/attend_args.cuh"

namespace recalld::kernels::cuda {

class AttendLaunch {
 public:
  // Checks the call, makes room for partial results of row blocks of rows_per_block rows and fills in args.
  Status prepare(Stream& stream, AttendKind kind, const AttendShape& shape, const DeviceQueries& queries,
                 AttendPlan& plan, const DeviceState& state, int rows_per_block);

  AttendArgs args;
  int row_blocks = 0;
  int n_coded = 0, n_plain = 0;
  bool trellis = false;  // some page has a side on the trellis grid
  const int32_t* coded = nullptr;
  const int32_t* plain = nullptr;
};

}  // namespace recalld::kernels::cuda
