// The warp that lane code (kernels/cuda/lane) runs in on a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace recalld::kernels::cuda {

class DeviceWarp {
 public:
  __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x % 32); }
  __device__ __forceinline__ int warp() const { return static_cast<int>(threadIdx.x / 32); }
  __device__ __forceinline__ void sync() { __syncwarp(); }
  __device__ __forceinline__ void sync_block() { __syncthreads(); }

  template <class T>
  __device__ __forceinline__ T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  template <class T>
  __device__ __forceinline__ T shuffle(T value, int source) {
    return __shfl_sync(0xffffffffu, value, source);
  }
  __device__ __forceinline__ bool any(bool predicate) { return __any_sync(0xffffffffu, predicate); }

  // c += a b: a 16 x 32 signed bytes, b 32 x 8 bytes, signed or not, as registers of mma.m16n8k32.
  template <bool unsigned_factor>
  __device__ __forceinline__ void multiply_add(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (unsigned_factor) {
      asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
      asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }

  // c += a b: a 16 x 16, b 16 x 8 halves, c f32, as registers of mma.m16n8k16.
  __device__ __forceinline__ void multiply_add_halves(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  // 16 bytes from global to shared memory, both aligned to 16. Other lanes see them after a wait and sync().
  __device__ __forceinline__ void copy16(void* to, const void* from) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
  }
  __device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  // All groups but the last committed have landed.
  __device__ __forceinline__ void wait_copies_but_one() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }
};

}  // namespace recalld::kernels::cuda
