#include "quant/code_rows.h"

#include <cstring>

namespace recalld::quant {
namespace {

using kernels::Band;
using kernels::kTokenGroup;

constexpr size_t kBlockBytes = 64;
constexpr uint32_t kLowBits = 0x03030303;

uint32_t load(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// The third bit of four codes, in the order of their bytes.
uint32_t third_bits(uint32_t word) { return (word >> 2 & 0x01010101U) * 0x01020408U >> 24; }

size_t low_bytes(int padded, Band band) { return kernels::side_bytes(padded, band.n_dims, 2); }

void put_value_high_bits(const CodeRows& rows, int padded, Band band, int group, uint8_t* codes) {
  const size_t chunks = static_cast<size_t>(band.n_dims / 16);
  for (int quad = 0; quad < kTokenGroup / 4; ++quad) {
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      uint64_t mask = 0;
      for (int j = 0; j < 16; ++j)
        for (int t = 0; t < 4; ++t)
          mask |= static_cast<uint64_t>(rows[quad * 4 + t][chunk * 16 + static_cast<size_t>(j)] >> 2 & 1)
                  << (j * 4 + t);
      const size_t at = (static_cast<size_t>(group * 4 + quad) * chunks + chunk) * sizeof mask;
      std::memcpy(codes + low_bytes(padded, band) + at, &mask, sizeof mask);
    }
  }
}

template <class Get>
void get_rows(Band band, CodeRows& rows, const Get& get) {
  for (int t = 0; t < kTokenGroup; ++t)
    for (int j = 0; j < band.n_dims; ++j) rows[t][j] = static_cast<uint8_t>(get(t, j));
}

}  // namespace

void get_key_rows(const uint8_t* codes, int padded, Band band, int group, CodeRows& rows) {
  const kernels::SideFormat format = kernels::one_band(band.bits, band.n_dims);
  get_rows(band, rows,
           [&](int t, int j) { return kernels::get_k_code(codes, padded, format, group * kTokenGroup + t, j); });
}

void get_value_rows(const uint8_t* codes, int padded, Band band, int group, CodeRows& rows) {
  const kernels::SideFormat format = kernels::one_band(band.bits, band.n_dims);
  get_rows(band, rows,
           [&](int t, int j) { return kernels::get_v_code(codes, padded, format, group * kTokenGroup + t, j); });
}

void put_key_rows(const CodeRows& rows, int padded, Band band, int group, uint8_t* codes) {
  const int span = band.bits == 4 ? 8 : 16;
  const size_t blocks = static_cast<size_t>(band.n_dims / span);
  uint8_t* low = codes + static_cast<size_t>(group) * blocks * kBlockBytes;
  for (int t = 0; t < kTokenGroup; ++t) {
    for (size_t e = 0; e < blocks; ++e) {
      const uint8_t* from = rows[t] + e * static_cast<size_t>(span);
      uint32_t word = 0;
      if (band.bits == 4)
        word = load(from) | load(from + 4) << 4;
      else
        for (int i = 0; i < 4; ++i) word |= (load(from + 4 * i) & kLowBits) << (2 * i);
      std::memcpy(low + e * kBlockBytes + static_cast<size_t>(t) * sizeof word, &word, sizeof word);
    }
  }
  if (band.bits != 3) return;
  const size_t quads = static_cast<size_t>(band.n_dims / 4);
  for (size_t quad = 0; quad < quads; ++quad) {
    uint64_t mask = 0;
    for (int t = 0; t < kTokenGroup; ++t)
      mask |= static_cast<uint64_t>(third_bits(load(rows[t] + quad * 4))) << (t * 4);
    const size_t at = (static_cast<size_t>(group) * quads + quad) * sizeof mask;
    std::memcpy(codes + low_bytes(padded, band) + at, &mask, sizeof mask);
  }
}

void put_value_rows(const CodeRows& rows, int padded, Band band, int group, uint8_t* codes) {
  const size_t chunks = static_cast<size_t>(band.n_dims / 16);
  const int per_byte = band.bits == 4 ? 2 : 4;
  const int width = band.bits == 4 ? 4 : 2;
  const uint8_t low_bits = band.bits == 4 ? 15 : 3;
  const int spans = kTokenGroup / (4 * per_byte);
  for (int span = 0; span < spans; ++span) {
    uint8_t bytes[4][kernels::kMaxHeadDim];
    for (int t = 0; t < 4; ++t) {
      const int first = span * 4 * per_byte + t;
      for (int j = 0; j < band.n_dims; ++j) {
        int byte = 0;
        for (int i = 0; i < per_byte; ++i) byte |= (rows[first + 4 * i][j] & low_bits) << (width * i);
        bytes[t][j] = static_cast<uint8_t>(byte);
      }
    }
    uint8_t* to = codes + static_cast<size_t>(group * spans + span) * chunks * kBlockBytes;
    for (int j = 0; j < band.n_dims; ++j)
      for (int t = 0; t < 4; ++t) to[j * 4 + t] = bytes[t][j];
  }
  if (band.bits == 3) put_value_high_bits(rows, padded, band, group, codes);
}

}  // namespace recalld::quant
