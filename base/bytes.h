// Bytes: aligned buffers, little-endian fields, checksums, half floats. No policy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace recalld {

// 64-byte aligned, zero-filled memory of a fixed size; movable, not copyable.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size);
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }
  std::span<std::byte> span() { return {data_.get(), size_}; }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

// Rounds up to a multiple.
constexpr size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A 128-bit content name. Equal contents have equal digests; not a defence against a forger.
struct Digest128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Digest128&, const Digest128&) = default;
  // 32 lower-case hexadecimal digits.
  std::string hex() const;
};

// XXH3, 64 bits: checksums of pages and chunks.
uint64_t checksum64(std::span<const std::byte> bytes);

// XXH3, 128 bits: fingerprints.
Digest128 digest128(std::span<const std::byte> bytes);

// A digest over several parts, order-sensitive; each part is preceded by its length.
class Digester {
 public:
  Digester();
  ~Digester();
  Digester(const Digester&) = delete;
  Digester& operator=(const Digester&) = delete;
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  void add(uint64_t value);
  Digest128 finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

inline constexpr float kLargestHalf = 65504.0F;

// IEEE half precision. float_to_half rounds to nearest even; overflow becomes infinity.
uint16_t float_to_half(float value);
float half_to_float(uint16_t half);

}  // namespace recalld
