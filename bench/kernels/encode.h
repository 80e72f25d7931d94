// Coding pages against copying their rows: rows come from memory, not from a processor's cache.
#pragma once

#include <cstddef>
#include <vector>

#include "base/bytes.h"
#include "quant/codec.h"

namespace recalld::bench {

class EncodeProblem {
 public:
  explicit EncodeProblem(int head_dim);

  // Vectors that one call below goes through: keys and values of one head and token each count as one.
  size_t n_vectors() const;

  // The rows as 32-bit numbers to another place.
  void copy();
  // Into pages of the codec. Throws std::runtime_error when it does not take them.
  void encode(const quant::Codec& codec);
  // Into trellis codes of as many bits, through a Hadamard transform: what calibrated codecs write, less their maps.
  void encode_trellis(int bits);
  // Into ggml's q4_0, which llama.cpp's cache is coded in.
  void encode_q4_0();

 private:
  int head_dim_;
  std::vector<float> k_, v_, copied_;
  std::vector<std::byte> coded_;
  AlignedBuffer page_;
};

}  // namespace recalld::bench
