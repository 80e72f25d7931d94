// Everything that device code stands behind, in a build without nvcc: the same interface, and one answer.
#include "kernels/cuda/attend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/memory.h"

namespace recalld::kernels::cuda {
namespace {

Status not_built() {
  return unavailable(
      "this build has no CUDA kernels: nvcc was not found when it was configured; the CPU kernels do the same work");
}

}  // namespace

bool compiled() { return false; }
std::vector<Device> devices() { return {}; }
bool self_test(int /*n*/, int /*add*/) { return false; }

Result<DeviceBuffer> DeviceBuffer::allocate(size_t /*size*/, const char* /*what*/) { return not_built(); }
DeviceBuffer::~DeviceBuffer() = default;

Result<Stream> Stream::create() { return not_built(); }
Stream::~Stream() = default;
Status Stream::upload(void* /*to*/, const void* /*from*/, size_t /*size*/) { return not_built(); }
Status Stream::download(void* /*to*/, const void* /*from*/, size_t /*size*/) { return not_built(); }
Status Stream::copy(void* /*to*/, const void* /*from*/, size_t /*size*/) { return not_built(); }
Status Stream::clear(void* /*to*/, size_t /*size*/) { return not_built(); }
Status Stream::synchronize() { return not_built(); }

Result<Event> Event::create() { return not_built(); }
Event::~Event() = default;
Status Event::record(Stream& /*stream*/) { return not_built(); }
Result<float> Event::since(const Event& /*start*/) { return not_built(); }

Status attend_decode(Stream& /*stream*/, const AttendShape& /*shape*/, const DeviceQueries& /*queries*/,
                     AttendPlan& /*plan*/, const DeviceState& /*state*/) {
  return not_built();
}
Status attend_block(Stream& /*stream*/, const AttendShape& /*shape*/, const DeviceQueries& /*queries*/,
                    AttendPlan& /*plan*/, const DeviceState& /*state*/) {
  return not_built();
}
Status merge_states(Stream& /*stream*/, const DeviceState& /*into*/, const DeviceState& /*from*/, int /*n_problems*/,
                    int /*n_rows*/, int /*n_spaces*/, int /*head_dim*/) {
  return not_built();
}

Result<Encoder> Encoder::create(Stream& /*stream*/, const EncodePair& /*specs*/) { return not_built(); }
Status EncodeList::set(Stream& /*stream*/, std::span<const EncodeRows> /*jobs*/) { return not_built(); }
Status Encoder::encode(Stream& /*stream*/, const EncodeList& /*list*/) { return not_built(); }
Status Encoder::means(Stream& /*stream*/, const EncodeList& /*list*/) { return not_built(); }
Status hadamard(Stream& /*stream*/, const float* /*sign*/, int /*head_dim*/, int64_t /*n_rows*/, float* /*rows*/,
                bool /*inverse*/) {
  return not_built();
}
Status decode_to_halves(Stream& /*stream*/, PageSide /*side*/, int /*head_dim*/, const PageSlice* /*slices*/,
                        int /*n_pages*/, uint16_t* const* /*out*/) {
  return not_built();
}
Status make_variants(Stream& /*stream*/, int /*n_problems*/, int /*n_variants*/, int /*n_rows*/, int /*head_dim*/,
                     const RopeSpec& /*rope*/, const float* /*turns*/, const float* /*sign*/, const float* /*q*/,
                     float* /*out*/) {
  return not_built();
}
Status gather_pages(Stream& /*stream*/, const PageCopy* /*copies*/, int /*n_copies*/) { return not_built(); }

}  // namespace recalld::kernels::cuda
