// Times the CUDA kernels against a copy within the same device in the same run. Carried to a machine with a GPU as it
// is.
//
// A share is bytes that must move divided by time, as a part of what the copy moves (bytes read and written) per time:
// for attention the coded bytes of the view, for encoding the rows read and the pages written.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "bench/cuda/view.h"
#include "kernels/cuda/device.h"

namespace recalld::bench {
namespace {

using kernels::cuda::AttendKind;
using kernels::cuda::AttendPlan;
using kernels::cuda::DeviceBuffer;
using kernels::cuda::Encoder;
using kernels::cuda::EncodeRows;
using kernels::cuda::Event;
using kernels::cuda::PageSide;
using kernels::cuda::Stream;

constexpr int kSkipped = 77;
constexpr int kGroup = 4;

struct Figure {
  std::string name;
  double value;
  std::string unit, against;
};

// Milliseconds of one of n repetitions, the best of five rounds after one that warms up.
Result<double> time_of(Stream& stream, int n, const std::function<Status(int)>& work) {
  RECALLD_ASSIGN_OR_RETURN(Event start, Event::create());
  RECALLD_ASSIGN_OR_RETURN(Event end, Event::create());
  double best = 0;
  for (int round = 0; round < 6; ++round) {
    RECALLD_RETURN_IF_ERROR(start.record(stream));
    for (int i = 0; i < n; ++i) RECALLD_RETURN_IF_ERROR(work(i));
    RECALLD_RETURN_IF_ERROR(end.record(stream));
    RECALLD_ASSIGN_OR_RETURN(const float milliseconds, end.since(start));
    const double one = static_cast<double>(milliseconds) / n;
    if (round == 1 || (round > 1 && one < best)) best = one;
  }
  return best;
}

// Bytes read and written per millisecond.
Result<double> copy_speed(Stream& stream) {
  constexpr size_t kSize = size_t{1} << 30;
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer from, DeviceBuffer::allocate(kSize, "the copy"));
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer to, DeviceBuffer::allocate(kSize, "the copy"));
  RECALLD_RETURN_IF_ERROR(stream.clear(from.data(), kSize));
  RECALLD_ASSIGN_OR_RETURN(const double milliseconds,
                           time_of(stream, 8, [&](int) { return stream.copy(to.data(), from.data(), kSize); }));
  return 2.0 * static_cast<double>(kSize) / milliseconds;
}

// Layers enough that none of their pages are still in the device's cache when their turn comes again.
Status bench_attend(Stream& stream, const ViewSpec& spec, double copy, const std::string& name,
                    std::vector<Figure>& figures) {
  constexpr size_t kFootprint = size_t{512} << 20;
  std::vector<DeviceView> views;
  std::vector<AttendPlan> plans;
  size_t bytes = 0;
  while (bytes < kFootprint) {
    RECALLD_ASSIGN_OR_RETURN(DeviceView view, make_view(stream, spec, static_cast<unsigned>(views.size())));
    RECALLD_ASSIGN_OR_RETURN(AttendPlan plan,
                             AttendPlan::create(stream, AttendKind::kDecode, spec.head_dim, 1, view.problems));
    bytes += view.coded_bytes;
    views.push_back(std::move(view));
    plans.push_back(std::move(plan));
  }
  const auto rows = static_cast<size_t>(spec.n_heads * kGroup), numbers = rows * static_cast<size_t>(spec.head_dim);
  std::vector<float> q(numbers);
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50.0F;
  const std::vector<int32_t> positions(static_cast<size_t>(spec.n_heads), spec.n_keys);
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer q_memory, upload_all(stream, q.data(), q.size(), "queries"));
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer position_memory,
                           upload_all(stream, positions.data(), positions.size(), "positions"));
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer state, DeviceBuffer::allocate((2 * rows + numbers) * 4, "the state"));
  RECALLD_RETURN_IF_ERROR(stream.synchronize());

  kernels::AttendShape shape;
  shape.head_dim = spec.head_dim;
  shape.n_group = kGroup;
  shape.scale = 0.088F;
  const kernels::cuda::DeviceQueries queries{1, 1, position_memory.as<int32_t>(), q_memory.as<float>()};
  float* m = state.as<float>();
  RECALLD_ASSIGN_OR_RETURN(
      const double milliseconds, time_of(stream, static_cast<int>(views.size()), [&](int layer) {
        return attend_decode(stream, shape, queries, plans[static_cast<size_t>(layer)], {m, m + rows, m + 2 * rows});
      }));
  const double coded = static_cast<double>(views[0].coded_bytes);
  figures.push_back({"attend_share_" + name, coded / milliseconds / copy, "ratio", "device copy"});
  figures.push_back({"attend_us_" + name, 1000 * milliseconds, "us", ""});
  return ok_status();
}

// Keys and values of n_keys tokens of all heads, pages of 256 tokens, in one launch.
Status bench_encode(Stream& stream, const ViewSpec& spec, double copy, const std::string& name,
                    std::vector<Figure>& figures) {
  RECALLD_ASSIGN_OR_RETURN(const DeviceView view, make_view(stream, spec, 1));
  const auto row_numbers = static_cast<size_t>(spec.n_keys) * static_cast<size_t>(spec.n_heads * spec.head_dim);
  std::vector<float> numbers(row_numbers);
  uint32_t state = 1;
  for (float& x : numbers) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-30F;
  }
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer keys, upload_all(stream, numbers.data(), numbers.size(), "rows"));
  RECALLD_ASSIGN_OR_RETURN(const DeviceBuffer values, upload_all(stream, numbers.data(), numbers.size(), "rows"));
  RECALLD_RETURN_IF_ERROR(stream.synchronize());

  const kernels::SignFlips flips = kernels::sign_flips(1);
  kernels::EncodeSpec side;
  side.format = format_of(spec);
  side.flips = &flips;
  side.head_dim = spec.head_dim;
  RECALLD_ASSIGN_OR_RETURN(Encoder encoder, Encoder::create(stream, {side, side}));
  std::vector<EncodeRows> jobs;
  for (size_t head = 0; head < view.problems.size(); ++head) {
    for (const kernels::PageSlice& page : view.problems[head]) {
      EncodeRows job;
      job.page_tokens = job.n_rows = page.n_tokens;
      job.stride = static_cast<int64_t>(spec.n_heads) * spec.head_dim;
      const int64_t at = page.view_start * job.stride + static_cast<int64_t>(head) * spec.head_dim;
      job.rows = keys.as<float>() + at;
      job.mean = page.k_mean;
      job.out = {const_cast<uint8_t*>(page.k), const_cast<uint8_t*>(page.k_scale), nullptr};
      jobs.push_back(job);
      job.side = PageSide::kValues;
      job.rows = values.as<float>() + at;
      job.mean = nullptr;
      job.out = {const_cast<uint8_t*>(page.v), const_cast<uint8_t*>(page.v_scale), nullptr};
      jobs.push_back(job);
    }
  }
  kernels::cuda::EncodeList list;
  RECALLD_RETURN_IF_ERROR(list.set(stream, jobs));
  RECALLD_ASSIGN_OR_RETURN(const double milliseconds,
                           time_of(stream, 4, [&](int) { return encoder.encode(stream, list); }));
  const double bytes = 2.0 * static_cast<double>(row_numbers) * 4 + static_cast<double>(view.coded_bytes);
  figures.push_back({"encode_share" + name, bytes / milliseconds / copy, "ratio", "device copy"});
  figures.push_back({"encode_ns_per_vector" + name, 1e6 * milliseconds / (2.0 * spec.n_keys * spec.n_heads), "ns", ""});
  return ok_status();
}

Status run(std::vector<Figure>& figures) {
  RECALLD_ASSIGN_OR_RETURN(Stream stream, Stream::create());
  RECALLD_ASSIGN_OR_RETURN(const double copy, copy_speed(stream));
  figures.push_back({"copy_gb_per_s", copy / 1e6, "GB/s", ""});
  for (const kernels::Grid grid : {kernels::Grid::kLloydMax, kernels::Grid::kTrellis}) {
    for (const int bits : {4, 3, 2}) {
      ViewSpec spec;
      spec.bits = bits;
      spec.grid = grid;
      const bool trellis = grid == kernels::Grid::kTrellis;
      const std::string name = (trellis ? "t" : "b") + std::to_string(bits);
      RECALLD_RETURN_IF_ERROR(bench_attend(stream, spec, copy, name, figures));
      // Four sequences in one launch: what the launch itself costs fades.
      spec.n_heads = 32;
      RECALLD_RETURN_IF_ERROR(bench_attend(stream, spec, copy, name + "_x4", figures));
      spec.n_heads = 8;
      RECALLD_RETURN_IF_ERROR(bench_encode(stream, spec, copy, bits == 4 && !trellis ? "" : "_" + name, figures));
    }
  }
  return ok_status();
}

void write(std::FILE* file, const std::vector<Figure>& figures, const std::string& machine) {
  const char* commit = std::getenv("RECALLD_COMMIT");
  std::fprintf(file, "{\"bench\": \"cuda\", \"model\": \"\", \"machine\": \"%s\", \"commit\": \"%s\", \"figures\": [",
               machine.c_str(), commit == nullptr ? "unknown" : commit);
  for (size_t i = 0; i < figures.size(); ++i)
    std::fprintf(file, "%s\n  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"against\": \"%s\"}",
                 i == 0 ? "" : ",", figures[i].name.c_str(), figures[i].value, figures[i].unit.c_str(),
                 figures[i].against.c_str());
  std::fprintf(file, "\n]}\n");
}

int bench_cuda() {
  const auto devices = kernels::cuda::devices();
  if (devices.empty()) {
    std::puts("SKIPPED: no CUDA device. None of the CUDA kernels was timed.");
    return kSkipped;
  }
  std::printf("device: %s, compute capability %d.%d\n", devices[0].name.c_str(), devices[0].major, devices[0].minor);
  std::vector<Figure> figures;
  const Status status = run(figures);
  for (const Figure& figure : figures)
    std::printf("%-28s %12.4g %-6s %s\n", figure.name.c_str(), figure.value, figure.unit.c_str(),
                figure.against.c_str());
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.to_string().c_str());
    return 1;
  }
  if (const char* path = std::getenv("RECALLD_BENCH_OUT")) {
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr) {
      std::fprintf(stderr, "error: %s cannot be written\n", path);
      return 1;
    }
    write(file, figures, devices[0].name);
    std::fclose(file);
  }
  return 0;
}

}  // namespace
}  // namespace recalld::bench

int main() { return recalld::bench::bench_cuda(); }
