// The order in which everything in a page is coded, and what each number is expected to be given those before it: one
// text for writing and reading. A part of quant/rest.h; docs/rest-format.md has the reasons and figures.
//
// A Coder has
//   static constexpr bool kReads               whether it fills in what it is given or takes it
//   void symbol(int table, uint32_t& symbol)
//   void bits(uint32_t& value, int n_bits)     0..10 of them, all values equally likely
//   void row(int table, const uint8_t* context, uint8_t* symbols, int n)   symbols[i] by table + context[i]
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "quant/code_rows.h"
#include "quant/page.h"
#include "quant/rest_tables.h"

namespace recalld::quant::rest {

// What the codes of a dim were in the tokens before, as an average that forgets: the context of the next code.
// Neighbouring tokens have similar keys, and values have a mean of their own in each dim.
class CodeContext {
 public:
  // An average over 2^(shift + 1) tokens or so. Of codes on the trellis grid the place counts, a code of one bit less:
  // the path bit says little by itself.
  CodeContext(kernels::Grid grid, int bits, int n_dims, int shift) : n_dims_(n_dims), shift_(shift) {
    constexpr int kSteps[] = {51, 31, 18, 10};  // of 1 to 4 bits: half the distance between levels, in 1/64 sigma
    if (grid == kernels::Grid::kTrellis) --bits;
    top_ = (1 << bits) - 1;
    step_ = kSteps[bits - 1];
  }

  void contexts(uint8_t* out) const {
    // Contexts are 1/6 sigma wide. With few tokens seen the average is drawn to 0.
    const int32_t scale = 400'000 / (weight_ + 32);
    for (int j = 0; j < n_dims_; ++j)
      out[j] = static_cast<uint8_t>(std::clamp((sums_[j] * scale >> 16) + 8, 0, kBlockTables - 1));
  }

  void add(const uint8_t* codes) {
    for (int j = 0; j < n_dims_; ++j) sums_[j] += (2 * (codes[j] & top_) - top_) * step_ - (sums_[j] >> shift_);
    weight_ += 64 - (weight_ >> shift_);
  }

 private:
  int n_dims_, shift_, top_ = 0;
  int32_t step_ = 0, weight_ = 0;
  int32_t sums_[kernels::kMaxHeadDim] = {};
};

// How much the numbers of the layer before differed from what their heads had shown up to then, for each token: a token
// that is large in one layer is large in the next.
class Trend {
 public:
  int32_t at(int token) const { return before_[static_cast<size_t>(token)]; }
  void add(int token, int32_t difference) { now_[static_cast<size_t>(token)] += difference; }
  void next_layer(int n_heads) {
    for (size_t i = 0; i < now_.size(); ++i) before_[i] = now_[i] / n_heads * 5 / 8;
    now_.fill(0);
  }
  int32_t first = 0;  // the first number of the row coded last

 private:
  std::array<int32_t, kernels::kMaxPageTokens> before_{}, now_{};
};

template <class Coder>
class Walk {
 public:
  explicit Walk(Coder& coder) : coder_(coder) {}

  // Everything in the page but its header. When the coder reads, the page is zero to begin with.
  void page(const CodecTag& codec, const PageMeta& meta, std::span<std::byte> bytes) {
    const kernels::SideFormat k = kernels::resolve(codec.k, meta.head_dim),
                              v = kernels::resolve(codec.v, meta.head_dim);
    for (int head = 0; head < meta.n_kv_heads; ++head) {
      const PageSections at = page_sections(codec, meta, head, bytes);
      if (at.k_mean != nullptr)
        for (int j = 0; j < meta.head_dim; ++j) half(kMeanTable, at.k_mean[j]);
      side(kKeys, k, meta, at.k, at.k_scale, at.k_offset);
      side(kValues, v, meta, at.v, at.v_scale, at.v_offset);
    }
    for (auto& trends : trends_)
      for (Trend& trend : trends) trend.next_layer(meta.n_kv_heads);
  }

 private:
  static constexpr int kOffsetTrend = kernels::kMaxBands;

  void side(Side side, const kernels::SideFormat& format, const PageMeta& meta, uint8_t* codes, uint8_t* scales,
            uint16_t* offsets) {
    if (format.halves()) return halves(side, meta, reinterpret_cast<uint16_t*>(codes));
    const int padded = kernels::padded_tokens(meta.n_tokens);
    for (int row = 0; row < format.n_scales(); ++row) {
      Trend& trend = trends_[side][static_cast<size_t>(row)];
      if (format.byte_scales)
        numbers(scale_table(side), trend, meta.n_tokens, scales + row * padded);
      else
        numbers(scale_table(side), trend, meta.n_tokens, reinterpret_cast<uint16_t*>(scales) + row * padded);
    }
    if (offsets != nullptr) numbers(offset_table(side), trends_[side][kOffsetTrend], meta.n_tokens, offsets);
    for (int i = 0; i < format.stored_bands(); ++i)
      band(side, i, format.grid, format.bands[i], meta.n_tokens,
           codes + kernels::band_place(format, padded, i).code_offset);
  }

  void band(Side side, int index, kernels::Grid grid, kernels::Band band, int n_tokens, uint8_t* codes) {
    const int padded = kernels::padded_tokens(n_tokens);
    const int tables = code_tables(side, index, band.bits);
    CodeContext context(grid, band.bits, band.n_dims, side == kKeys ? 1 : 3);
    CodeRows rows = {};
    uint8_t contexts[kernels::kMaxHeadDim];
    for (int first = 0; first < n_tokens; first += kernels::kTokenGroup) {
      const int group = first / kernels::kTokenGroup;
      const int n = std::min(kernels::kTokenGroup, n_tokens - first);
      if constexpr (Coder::kReads) {
        if (n < kernels::kTokenGroup) std::memset(rows, 0, sizeof rows);
      } else {
        side == kKeys ? get_key_rows(codes, padded, band, group, rows)
                      : get_value_rows(codes, padded, band, group, rows);
      }
      for (int t = 0; t < n; ++t) {
        context.contexts(contexts);
        coder_.row(tables, contexts, rows[t], band.n_dims);
        context.add(rows[t]);
      }
      if constexpr (Coder::kReads)
        side == kKeys ? put_key_rows(rows, padded, band, group, codes)
                      : put_value_rows(rows, padded, band, group, codes);
    }
  }

  // Sign and exponent after those of the token before, fraction as it is.
  void halves(Side side, const PageMeta& meta, uint16_t* values) {
    uint8_t before[kernels::kMaxHeadDim];
    std::fill_n(before, meta.head_dim, uint8_t{kRansMaxSymbols - 1});  // a NaN's: of no stored number
    for (int t = 0; t < meta.n_tokens; ++t)
      for (int j = 0; j < meta.head_dim; ++j) {
        uint16_t& value = values[side == kKeys ? kernels::k_half_index(meta.head_dim, t, j)
                                               : kernels::v_half_index(meta.head_dim, t, j)];
        half(half_table(side, before[j]), value);
        before[j] = static_cast<uint8_t>(value >> kFractionBits);
      }
  }

  void half(int table, uint16_t& value) {
    uint32_t upper = value >> kFractionBits, fraction = value & ((1U << kFractionBits) - 1);
    coder_.symbol(table, upper);
    coder_.bits(fraction, kFractionBits);
    value = static_cast<uint16_t>(upper << kFractionBits | fraction);
  }

  // Halves in the order of their values, so that differences mean something; scales of 8 bits are in it.
  static uint16_t rank_of(uint16_t half) { return static_cast<uint16_t>((half & 0x8000) != 0 ? ~half : half | 0x8000); }
  static void set_by_rank(uint16_t rank, uint16_t& half) {
    half = static_cast<uint16_t>((rank & 0x8000) != 0 ? rank & 0x7FFF : ~rank);
  }
  static uint16_t rank_of(uint8_t scale) { return scale; }
  static void set_by_rank(uint16_t rank, uint8_t& scale) { scale = static_cast<uint8_t>(rank); }

  // One number for each token: its difference to the mean of those before it, and to what the layer before says.
  template <class Number>
  void numbers(int table, Trend& trend, int n, Number* values) {
    int32_t sum = 0;
    for (int t = 0; t < n; ++t) {
      const int32_t mean = t == 0 ? trend.first : sum / t;
      const int32_t expected = mean + (t == 0 ? 0 : trend.at(t));
      uint16_t rank = rank_of(values[t]);
      auto difference = static_cast<int16_t>(rank - expected);
      this->difference(table, difference);
      rank = static_cast<uint16_t>(expected + difference);
      set_by_rank(rank, values[t]);
      sum += rank;
      if (t == 0)
        trend.first = rank;
      else
        trend.add(t, rank - mean);
    }
  }

  static uint32_t bucket_of(uint32_t size) {
    if (size < 4) return size;
    const int rest_bits = std::bit_width(size) - 3;
    return static_cast<uint32_t>(rest_bits + 1) * 4 + (size >> rest_bits & 3);
  }

  // The size of a difference by its leading three bits, then the rest of its bits and its sign.
  void difference(int table, int16_t& value) {
    uint32_t size = value < 0 ? 0U - static_cast<uint32_t>(value) : static_cast<uint32_t>(value);
    uint32_t negative = value < 0 ? 1 : 0;
    uint32_t bucket = bucket_of(size);
    coder_.symbol(table, bucket);
    const int rest_bits = bucket < 4 ? 0 : static_cast<int>(bucket / 4) - 1;
    uint32_t rest = size & ((1U << rest_bits) - 1), upper = rest >> kFractionBits;
    coder_.bits(rest, std::min(rest_bits, kFractionBits));
    coder_.bits(upper, std::max(rest_bits - kFractionBits, 0));
    if (bucket > 0) coder_.bits(negative, 1);
    size = bucket < 4 ? bucket : (4 | (bucket & 3)) << rest_bits | upper << kFractionBits | rest;
    value = static_cast<int16_t>(negative != 0 ? 0U - size : size);
  }

  static constexpr int kFractionBits = 10;

  Coder& coder_;
  std::array<std::array<Trend, kernels::kMaxBands + 1>, 2> trends_;
};

}  // namespace recalld::quant::rest
