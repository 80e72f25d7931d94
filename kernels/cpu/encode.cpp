// Rows into codes and halves, a token group at a time.
#include "kernels/encode.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/encode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/encode_quantise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels {
namespace HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

void encode_key_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                     const CodedSide& out) {
  reference::encode_keys(spec, n_rows, rows, stride, mean, out);
}
void encode_value_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out) {
  reference::encode_values(spec, n_rows, rows, stride, out);
}
void key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  reference::store_key_halves(head_dim, n_rows, rows, stride, k);
}
void value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  reference::store_value_halves(head_dim, n_rows, rows, stride, v);
}

#else

template <class Side>
void encode_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 const CodedSide& out) {
  const SideFormat& format = spec.format;
  const int stored = format.stored_bands();
  const int per_scale = format.scale_per_band ? 1 : stored;
  const int padded = padded_tokens(n_rows);
  PositiveHalf tables[kMaxBands];
  for (int band = 0; band < stored; ++band) tables[band] = positive_half(format.grid, format.bands[band].bits);

  Group group;
  Side side;
  side.head_dim = spec.head_dim;
  alignas(64) float square[kTokens];
  for (int first = 0; first < n_rows; first += kTokenGroup) {
    const int n = std::min(kTokenGroup, n_rows - first);
    load_group(spec.head_dim, n, rows + static_cast<size_t>(first) * stride, stride, group);
    if (spec.flips != nullptr)
      transform_group(*spec.flips, spec.head_dim, mean, group, square);
    else if (mean != nullptr)
      centre_group(spec.head_dim, mean, group);
    if (format.grid == Grid::kUniform) {
      quantise_uniformly(spec, n, group, reinterpret_cast<uint16_t*>(out.scales) + first,
                         out.offsets == nullptr ? nullptr : out.offsets + first, side);
    } else {
      const bool measured = spec.flips != nullptr && format.n_bands == 1;
      for (int band = 0; band < stored; band += per_scale) {
        const int begin = band_place(format, 0, band).first_dim;
        if (!measured) measure_group(begin, band_place(format, 0, band + per_scale).first_dim - begin, group, square);
        quantise_group(format, tables, spec.rule, band, band + per_scale, n, group, square,
                       out.scales + (band / per_scale * padded + first) * format.scale_bytes(), side);
      }
    }
    const GroupPlace place{static_cast<size_t>(first) / kTokens, static_cast<size_t>(padded)};
    for (int band = 0; band < stored; ++band) {
      const BandPlace at = band_place(format, n_rows, band);
      side.pack(format.bands[band].bits, at.first_dim, format.bands[band].n_dims, place, out.codes + at.code_offset);
    }
  }
}

void encode_key_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                     const CodedSide& out) {
  encode_rows<KeyWords>(spec, n_rows, rows, stride, mean, out);
}

void encode_value_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out) {
  encode_rows<ValueWords>(spec, n_rows, rows, stride, nullptr, out);
}

void key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  const LaneTag d;
  Group group;
  const auto values = static_cast<size_t>(head_dim) * kTokens;
  for (int first = 0; first < n_rows; first += kTokenGroup) {
    load_group(head_dim, std::min(kTokenGroup, n_rows - first), rows + static_cast<size_t>(first) * stride, stride,
               group);
    uint16_t* out = k + static_cast<size_t>(first) / kTokens * values;
    for (size_t i = 0; i < values; i += hn::Lanes(d)) store_halves(d, hn::Load(d, group.value + i), out + i);
  }
}

void value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  const LaneTag d;
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row)
    for (size_t i = 0; i < dims; i += hn::Lanes(d))
      store_halves(d, safe(d, hn::LoadU(d, rows + row * stride + i)), v + row * dims + i);
  const size_t used = static_cast<size_t>(n_rows) * dims;
  std::fill(v + used, v + static_cast<size_t>(padded_tokens(n_rows)) * dims, static_cast<uint16_t>(0));
}

#endif

// sum = the mean of the rows.
void mean_of_rows(int head_dim, int n_rows, const float* rows, size_t stride, float* sum) {
  const LaneTag d;
  const auto dims = static_cast<size_t>(head_dim);
  const auto share = hn::Set(d, 1.0F / static_cast<float>(n_rows));
  for (size_t i = 0; i < dims; i += hn::Lanes(d)) {
    auto total = hn::Zero(d);
    for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row)
      total = hn::Add(total, safe(d, hn::LoadU(d, rows + row * stride + i)));
    hn::StoreU(hn::Mul(total, share), d, sum + i);
  }
}

void rounded_halves(int n, const float* values, uint16_t* halves) {
  const LaneTag d;
  for (size_t i = 0; i < static_cast<size_t>(n); i += hn::Lanes(d))
    store_halves(d, safe(d, hn::LoadU(d, values + i)), halves + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace recalld::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "base/bytes.h"

namespace recalld::kernels {

HWY_EXPORT(encode_key_rows);
HWY_EXPORT(encode_value_rows);
HWY_EXPORT(key_halves);
HWY_EXPORT(value_halves);
HWY_EXPORT(mean_of_rows);
HWY_EXPORT(rounded_halves);

void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 const CodedSide& out) {
  HWY_DYNAMIC_DISPATCH(encode_key_rows)(spec, n_rows, rows, stride, mean, out);
}

void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out) {
  HWY_DYNAMIC_DISPATCH(encode_value_rows)(spec, n_rows, rows, stride, out);
}

void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value) {
  alignas(64) float sum[kMaxHeadDim];
  HWY_DYNAMIC_DISPATCH(mean_of_rows)(head_dim, n_rows, rows, stride, sum);
  hadamard(flips, head_dim, 1, sum, static_cast<size_t>(head_dim), sum);
  HWY_DYNAMIC_DISPATCH(rounded_halves)(head_dim, sum, mean);
  for (int i = 0; i < head_dim; ++i) mean_value[i] = half_to_float(mean[i]);
}

void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  HWY_DYNAMIC_DISPATCH(key_halves)(head_dim, n_rows, rows, stride, k);
}

void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  HWY_DYNAMIC_DISPATCH(value_halves)(head_dim, n_rows, rows, stride, v);
}

}  // namespace recalld::kernels
#endif
