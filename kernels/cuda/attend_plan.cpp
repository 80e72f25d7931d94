#include <algorithm>
#include <string>

#include "kernels/cuda/attend.h"
#include "kernels/cuda/lane/attend_args.cuh"

namespace recalld::kernels::cuda {
namespace {

// Blocks of decode attention that fill a multiprocessor, and warps of one of them.
constexpr int kBlocksPerProcessor = 2;
constexpr int kWarpsPerBlock = 8;

bool is_aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

std::string side_problem(const SideFormat& format, int head_dim, const void* codes, const void* scales,
                         const void* offsets) {
  std::string error = format_error(format, head_dim);
  if (!error.empty()) return error;
  if (format != resolve(format, head_dim)) return "the format is not resolved";
  if (codes == nullptr || !is_aligned(codes)) return "codes are missing or not aligned to 16 bytes";
  if (!format.halves() && (scales == nullptr || !is_aligned(scales)))
    return "scales are missing or not aligned to 16 bytes";
  if (format.offsets && (offsets == nullptr || !is_aligned(offsets)))
    return "offsets are missing or not aligned to 16 bytes";
  return "";
}

std::string page_problem(const PageSlice& page, int head_dim, int n_spaces) {
  if (page.n_tokens < 1 || page.n_tokens > kMaxPageTokens)
    return "it has " + std::to_string(page.n_tokens) + " tokens, expected 1 to " + std::to_string(kMaxPageTokens);
  if (page.space < 0 || page.space >= n_spaces) return "space " + std::to_string(page.space) + " does not exist";
  if (page.variant < 0) return "its query variant is negative";
  std::string error = side_problem(page.k_format, head_dim, page.k, page.k_scale, page.k_offset);
  if (!error.empty()) return "keys: " + error;
  error = side_problem(page.v_format, head_dim, page.v, page.v_scale, page.v_offset);
  return error.empty() ? error : "values: " + error;
}

bool is_coded(const PageSlice& page) { return !page.k_format.halves() && !page.v_format.halves(); }

struct Lists {
  std::vector<PageSlice> slices;
  std::vector<AttendTile> tiles;
  std::vector<AttendSplit> splits;
  std::vector<AttendProblem> problems;
  std::vector<int32_t> coded, plain;
};

// Tiles of one problem that go together: of one space and one kernel.
void add_tiles(Lists& lists, size_t first_slice, int space, bool mixed, bool coded) {
  for (size_t i = first_slice; i < lists.slices.size(); ++i) {
    const PageSlice& page = lists.slices[i];
    if (page.space != space || (!mixed && is_coded(page) != coded)) continue;
    for (int token = 0; token < page.n_tokens; token += kTile) lists.tiles.push_back({static_cast<int32_t>(i), token});
  }
}

}  // namespace

Result<AttendPlan> AttendPlan::create(Stream& stream, AttendKind kind, int head_dim, int n_spaces,
                                      std::span<const std::vector<PageSlice>> problems) {
  if (head_dim < 16 || head_dim > kMaxHeadDim || head_dim % 16 != 0)
    return invalid_argument("head_dim is " + std::to_string(head_dim) + ", expected a multiple of 16 up to " +
                            std::to_string(kMaxHeadDim));
  if (n_spaces < 1) return invalid_argument("a plan has at least one space");
  AttendPlan plan;
  plan.kind_ = kind;
  plan.head_dim_ = head_dim;
  plan.n_spaces_ = n_spaces;
  plan.n_problems_ = static_cast<int>(problems.size());

  int64_t total = 0;
  for (size_t problem = 0; problem < problems.size(); ++problem) {
    for (size_t page = 0; page < problems[problem].size(); ++page) {
      const PageSlice& slice = problems[problem][page];
      const std::string error = page_problem(slice, head_dim, n_spaces);
      if (!error.empty())
        return invalid_argument("page " + std::to_string(page) + " of problem " + std::to_string(problem) + ": " +
                                error);
      plan.last_variant_ = std::max(plan.last_variant_, slice.variant);
      plan.trellis_ = plan.trellis_ || slice.k_format.grid == Grid::kTrellis || slice.v_format.grid == Grid::kTrellis;
      total += (slice.n_tokens + kTile - 1) / kTile;
    }
  }
  // A part gets as many tiles as keep all multiprocessors busy in one wave, the same number for each warp.
  const int64_t target = std::max<int64_t>(1, static_cast<int64_t>(stream.n_processors()) * kBlocksPerProcessor);
  const int64_t even = (total + target - 1) / target;
  const int64_t per_split = std::max<int64_t>(1, (even + kWarpsPerBlock - 1) / kWarpsPerBlock) * kWarpsPerBlock;

  Lists lists;
  for (size_t problem = 0; problem < problems.size(); ++problem) {
    const size_t first_slice = lists.slices.size();
    lists.slices.insert(lists.slices.end(), problems[problem].begin(), problems[problem].end());
    AttendProblem of_problem{static_cast<int32_t>(lists.splits.size()), 0};
    for (int space = 0; space < n_spaces; ++space) {
      for (const bool coded : {true, false}) {
        const bool block = kind == AttendKind::kBlock;
        if (block && !coded) continue;
        const auto first = static_cast<int64_t>(lists.tiles.size());
        add_tiles(lists, first_slice, space, block, coded);
        const auto end = static_cast<int64_t>(lists.tiles.size());
        const int64_t step = block ? std::max<int64_t>(end - first, 1) : per_split;
        for (int64_t tile = first; tile < end; tile += step) {
          (coded ? lists.coded : lists.plain).push_back(static_cast<int32_t>(lists.splits.size()));
          lists.splits.push_back({static_cast<int32_t>(problem), static_cast<int32_t>(tile),
                                  static_cast<int32_t>(std::min(step, end - tile)), space});
        }
      }
    }
    // An empty view still has a result: of one part without tiles.
    if (static_cast<int32_t>(lists.splits.size()) == of_problem.first_split) {
      lists.coded.push_back(of_problem.first_split);
      lists.splits.push_back({static_cast<int32_t>(problem), 0, 0, 0});
    }
    of_problem.n_splits = static_cast<int32_t>(lists.splits.size()) - of_problem.first_split;
    lists.problems.push_back(of_problem);
  }
  plan.n_splits_ = static_cast<int>(lists.splits.size());
  plan.n_coded_ = static_cast<int>(lists.coded.size());
  plan.n_plain_ = static_cast<int>(lists.plain.size());
  const auto upload = [&stream](DeviceBuffer& to, const auto& from, const char* what) -> Status {
    RECALLD_ASSIGN_OR_RETURN(to, upload_all(stream, from.data(), from.size(), what));
    return ok_status();
  };
  RECALLD_RETURN_IF_ERROR(upload(plan.slices_, lists.slices, "the pages of a view"));
  RECALLD_RETURN_IF_ERROR(upload(plan.tiles_, lists.tiles, "the tiles of a view"));
  RECALLD_RETURN_IF_ERROR(upload(plan.splits_, lists.splits, "the parts of a view"));
  RECALLD_RETURN_IF_ERROR(upload(plan.problems_, lists.problems, "the problems of a view"));
  RECALLD_RETURN_IF_ERROR(upload(plan.coded_, lists.coded, "the coded parts of a view"));
  RECALLD_RETURN_IF_ERROR(upload(plan.plain_, lists.plain, "the 16-bit parts of a view"));
  RECALLD_RETURN_IF_ERROR(stream.synchronize());
  return plan;
}

}  // namespace recalld::kernels::cuda
