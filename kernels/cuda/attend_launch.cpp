#include "kernels/cuda/attend_launch.h"

#include <string>

namespace recalld::kernels::cuda {

Status AttendLaunch::prepare(Stream& stream, AttendKind kind, const AttendShape& shape, const DeviceQueries& queries,
                             AttendPlan& plan, const DeviceState& state, int rows_per_block) {
  if (plan.kind_ != kind) return invalid_argument("the plan was made for the other kind of attention");
  if (shape.head_dim != plan.head_dim_)
    return invalid_argument("head_dim is " + std::to_string(shape.head_dim) + ", the plan's is " +
                            std::to_string(plan.head_dim_));
  if (shape.n_group < 1 || queries.n_tokens < 1)
    return invalid_argument("attention takes at least one query token and one head per group");
  if (queries.n_variants <= plan.last_variant_)
    return invalid_argument("pages name query variant " + std::to_string(plan.last_variant_) + ", there are " +
                            std::to_string(queries.n_variants));
  const auto n_rows = static_cast<size_t>(queries.n_tokens) * static_cast<size_t>(shape.n_group);
  row_blocks = static_cast<int>((n_rows + static_cast<size_t>(rows_per_block) - 1) / rows_per_block);
  n_coded = plan.n_coded_;
  n_plain = plan.n_plain_;
  trellis = plan.trellis_;
  coded = plan.coded_.as<int32_t>();
  plain = plan.plain_.as<int32_t>();

  const size_t part_rows = n_rows * static_cast<size_t>(plan.n_splits_);
  const size_t part_bytes = part_rows * (static_cast<size_t>(shape.head_dim) + 2) * sizeof(float);
  if (plan.parts_.size() < part_bytes) {
    RECALLD_ASSIGN_OR_RETURN(plan.parts_, DeviceBuffer::allocate(part_bytes, "partial results of attention"));
  }
  const size_t done_bytes = static_cast<size_t>(plan.n_problems_) * static_cast<size_t>(row_blocks) * sizeof(uint32_t);
  if (plan.done_.size() < done_bytes) {
    RECALLD_ASSIGN_OR_RETURN(plan.done_, DeviceBuffer::allocate(done_bytes, "counters of attention"));
    RECALLD_RETURN_IF_ERROR(stream.clear(plan.done_.data(), done_bytes));
  }

  args.shape = shape;
  args.n_tokens = queries.n_tokens;
  args.n_variants = queries.n_variants;
  args.n_spaces = plan.n_spaces_;
  args.n_splits = plan.n_splits_;
  args.slices = plan.slices_.as<PageSlice>();
  args.tiles = plan.tiles_.as<AttendTile>();
  args.splits = plan.splits_.as<AttendSplit>();
  args.problems = plan.problems_.as<AttendProblem>();
  args.q = queries.q;
  args.positions = queries.positions;
  args.part_acc = plan.parts_.as<float>();
  args.part_m = args.part_acc + part_rows * static_cast<size_t>(shape.head_dim);
  args.part_l = args.part_m + part_rows;
  args.done = plan.done_.as<uint32_t>();
  args.m = state.m;
  args.l = state.l;
  args.acc = state.acc;
  args.levels = level_tables();
  return ok_status();
}

}  // namespace recalld::kernels::cuda
