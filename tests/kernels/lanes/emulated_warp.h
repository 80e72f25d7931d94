// Warps on the CPU: each lane runs on a stack of its own up to the next operation that the warp does together, then the
// next lane does. Runs the lane code of kernels/cuda/lane as it is.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

namespace recalld::kernels::cuda {

class Fibers;

// What lane code sees of its warp: the same operations as DeviceWarp (kernels/cuda/warp.cuh).
class EmulatedWarp {
 public:
  EmulatedWarp(Fibers& fibers, int thread) : fibers_(fibers), thread_(thread) {}

  int lane() const { return thread_ % 32; }
  int warp() const { return thread_ / 32; }

  void sync() { exchange(0, 's'); }
  void sync_block();

  template <class T>
  T shuffle_xor(T value, int mask) {
    return from_lane<T>(exchange(bits(value), 'x'), lane() ^ mask);
  }
  template <class T>
  T shuffle(T value, int source) {
    return from_lane<T>(exchange(bits(value), 'f'), source);
  }
  bool any(bool predicate);

  // mma.m16n8k32, signed 8-bit levels times signed or unsigned 8-bit numbers.
  template <bool unsigned_factor>
  void multiply_add(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiply_add_bytes(c, a, b, unsigned_factor);
  }
  // mma.m16n8k16, halves with f32 sums.
  void multiply_add_halves(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

  void copy16(void* to, const void* from);
  void commit_copies();
  void wait_copies_but_one();

 private:
  struct Copy {
    void* to;
    unsigned char bytes[16];
    const void* from;
  };

  template <class T>
  static uint64_t bits(T value) {
    static_assert(sizeof(T) <= 8);
    uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    return word;
  }
  template <class T>
  T from_lane(const uint64_t* words, int source) const {
    T value;
    std::memcpy(&value, words + (thread_ / 32 * 32 + source), sizeof value);
    return value;
  }
  // Publishes one word per lane and waits for all: [threads of the block], valid until the next operation.
  const uint64_t* exchange(uint64_t word, char operation);
  void multiply_add_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool unsigned_factor);

  Fibers& fibers_;
  int thread_;
  // Copies land as late as they may: what reads too early reads old bytes.
  std::vector<std::vector<Copy>> copies_ = std::vector<std::vector<Copy>>(1);
};

// Runs body(warp) in each of 32 n_warps lanes. All lanes must take part in the same operations; throws otherwise.
void run_warps(int n_warps, const std::function<void(EmulatedWarp&)>& body);

}  // namespace recalld::kernels::cuda
