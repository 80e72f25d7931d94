#include "tests/kernels/lanes/emulated_warp.h"

#include <ucontext.h>

#include <cmath>
#include <exception>
#include <memory>

#include "base/bytes.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace recalld::kernels::cuda {

// Lanes as contexts that a loop resumes in turn. One round of the loop takes all lanes from one operation to the next.
class Fibers {
 public:
  explicit Fibers(int n) : words_{std::vector<uint64_t>(n), std::vector<uint64_t>(n)}, operations_(n), lanes_(n) {}

  void run(const std::function<void(int)>& body) {
    for (size_t i = 0; i < lanes_.size(); ++i) start(i, body);
    size_t left = lanes_.size();
    while (left > 0) {
      left = 0;
      // Another order each round: what a lane reads before all have written it is wrong in some round.
      const size_t turn = step_ += 13;
      for (size_t i = 0; i < lanes_.size(); ++i) {
        current_ = ((turn % 4 < 2 ? i : lanes_.size() - 1 - i) + turn) % lanes_.size();
        if (lanes_[current_].done) continue;
        enter();
        left += static_cast<size_t>(!lanes_[current_].done);
      }
      for (size_t i = 0; i < lanes_.size() && left > 0; ++i)
        if (lanes_[i].done || operations_[i] != operations_[i / 32 * 32])
          throw std::logic_error("lanes of a warp are at different operations");
      parity_ ^= 1;
    }
    for (Lane& lane : lanes_) {
#if defined(__SANITIZE_THREAD__)
      __tsan_destroy_fiber(lane.fiber);
#endif
      if (lane.error) std::rethrow_exception(lane.error);
    }
  }

  const uint64_t* exchange(int thread, uint64_t word, char operation) {
    std::vector<uint64_t>& words = words_[parity_];
    words[thread] = word;
    operations_[thread] = operation;
    leave();
    return words.data();
  }

 private:
  static constexpr size_t kStack = 256 * 1024;

  struct Lane {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
    std::exception_ptr error;
    void* fake_stack = nullptr;
    void* fiber = nullptr;
  };

  void start(size_t index, const std::function<void(int)>& body) {
    Lane& lane = lanes_[index];
    body_ = &body;
    lane.stack.reset(new char[kStack]);
    getcontext(&lane.context);
    lane.context.uc_stack.ss_sp = lane.stack.get();
    lane.context.uc_stack.ss_size = kStack;
    lane.context.uc_link = &loop_;
    const auto self = reinterpret_cast<uintptr_t>(this);
    makecontext(&lane.context, reinterpret_cast<void (*)()>(&Fibers::main), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
#if defined(__SANITIZE_THREAD__)
    lane.fiber = __tsan_create_fiber(0);
#endif
  }

  // Not followed by ThreadSanitizer: it is entered on its own stack of calls and left on the loop's.
  __attribute__((no_sanitize("thread"))) static void main(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Fibers*>(static_cast<uintptr_t>(high) << 32 | low);
    Lane& lane = self->lanes_[self->current_];
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &self->loop_stack_, &self->loop_size_);
#endif
    try {
      (*self->body_)(static_cast<int>(self->current_));
    } catch (...) {
      lane.error = std::current_exception();
    }
    lane.done = true;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(nullptr, self->loop_stack_, self->loop_size_);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(self->loop_fiber_, 0);
#endif
  }

  void enter() {
    Lane& lane = lanes_[current_];
#if defined(__SANITIZE_THREAD__)
    loop_fiber_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(lane.fiber, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, lane.stack.get(), kStack);
#endif
    swapcontext(&loop_, &lane.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  void leave() {
    Lane& lane = lanes_[current_];
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(loop_fiber_, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&lane.fake_stack, loop_stack_, loop_size_);
#endif
    swapcontext(&lane.context, &loop_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(lane.fake_stack, &loop_stack_, &loop_size_);
#endif
  }

  std::vector<uint64_t> words_[2];
  std::vector<char> operations_;
  std::vector<Lane> lanes_;
  const std::function<void(int)>* body_ = nullptr;
  size_t current_ = 0, step_ = 0;
  int parity_ = 0;
  ucontext_t loop_;
  const void* loop_stack_ = nullptr;
  size_t loop_size_ = 0;
  void* loop_fiber_ = nullptr;
};

const uint64_t* EmulatedWarp::exchange(uint64_t word, char operation) {
  return fibers_.exchange(thread_, word, operation);
}

void EmulatedWarp::sync_block() { exchange(0, 'B'); }

bool EmulatedWarp::any(bool predicate) {
  const uint64_t* words = exchange(predicate ? 1 : 0, 'a') + thread_ / 32 * 32;
  for (int i = 0; i < 32; ++i)
    if (words[i] != 0) return true;
  return false;
}

void EmulatedWarp::multiply_add_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                      bool unsigned_factor) {
  // Rows of A and columns of B of the whole warp, from two registers at a time.
  int8_t rows[16][32];
  int columns[8][32];
  const int base = thread_ / 32 * 32;
  for (int half = 0; half < 2; ++half) {
    const uint64_t* words = exchange(a[2 * half] | static_cast<uint64_t>(a[2 * half + 1]) << 32, 'm');
    for (int lane = 0; lane < 32; ++lane)
      for (int byte = 0; byte < 8; ++byte)
        rows[lane / 4 + byte / 4 * 8][16 * half + lane % 4 * 4 + byte % 4] =
            static_cast<int8_t>(words[base + lane] >> 8 * byte & 255);
  }
  const uint64_t* words = exchange(b[0] | static_cast<uint64_t>(b[1]) << 32, 'm');
  for (int lane = 0; lane < 32; ++lane)
    for (int byte = 0; byte < 8; ++byte) {
      const auto value = static_cast<uint8_t>(words[base + lane] >> 8 * byte & 255);
      columns[lane / 4][byte / 4 * 16 + lane % 4 * 4 + byte % 4] = unsigned_factor ? value : static_cast<int8_t>(value);
    }
  for (int i = 0; i < 4; ++i) {
    const int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 32; ++k) c[i] += rows[row][k] * columns[column][k];
  }
}

void EmulatedWarp::multiply_add_halves(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  float rows[16][16], columns[8][16];
  const int base = thread_ / 32 * 32;
  const auto half = [](uint64_t word, int i) { return half_to_float(static_cast<uint16_t>(word >> 16 * i)); };
  for (int part = 0; part < 2; ++part) {
    const uint64_t* words = exchange(a[2 * part] | static_cast<uint64_t>(a[2 * part + 1]) << 32, 'h');
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i)
        rows[lane / 4 + i / 2 * 8][8 * part + lane % 4 * 2 + i % 2] = half(words[base + lane], i);
  }
  const uint64_t* words = exchange(b[0] | static_cast<uint64_t>(b[1]) << 32, 'h');
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) columns[lane / 4][i / 2 * 8 + lane % 4 * 2 + i % 2] = half(words[base + lane], i);
  for (int i = 0; i < 4; ++i) {
    const int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) c[i] += rows[row][k] * columns[column][k];
  }
}

void EmulatedWarp::copy16(void* to, const void* from) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
    throw std::logic_error("an asynchronous copy is not aligned");
  copies_.back().push_back({to, {}, from});
}

void EmulatedWarp::commit_copies() { copies_.emplace_back(); }

void EmulatedWarp::wait_copies_but_one() {
  // The last group is the one being filled; the one before it may stay under way.
  while (copies_.size() > 2) {
    for (const Copy& copy : copies_.front()) std::memcpy(copy.to, copy.from, 16);
    copies_.erase(copies_.begin());
  }
}

void run_warps(int n_warps, const std::function<void(EmulatedWarp&)>& body) {
  Fibers fibers(32 * n_warps);
  fibers.run([&](int thread) {
    EmulatedWarp warp(fibers, thread);
    body(warp);
  });
}

}  // namespace recalld::kernels::cuda
