#include "quant/matrix_codec.h"

#include <algorithm>
#include <cmath>

#include "base/bytes.h"
#include "kernels/decode.h"
#include "kernels/linear_map.h"

namespace recalld::quant {
namespace {

// The rows of one head, made safe before a map spreads what is in them.
void gather(int d, int n_rows, const float* rows, size_t stride, float* out) {
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < d; ++i) {
      const float value = rows[static_cast<size_t>(r) * stride + static_cast<size_t>(i)];
      *out++ = std::isfinite(value) ? std::clamp(value, -kLargestHalf, kLargestHalf) : 0.0F;
    }
}

// Rounded to halves, as a page keeps it.
void mean_of(int d, int n_rows, const float* rows, uint16_t* mean, float* mean_value) {
  for (int i = 0; i < d; ++i) {
    float sum = 0;
    for (int row = 0; row < n_rows; ++row)
      sum += rows[static_cast<size_t>(row) * static_cast<size_t>(d) + static_cast<size_t>(i)];
    mean[i] = float_to_half(std::clamp(sum / static_cast<float>(n_rows), -kLargestHalf, kLargestHalf));
    mean_value[i] = half_to_float(mean[i]);
  }
}

void apply(int d, const std::vector<float>& by_input, int n_rows, const float* in, size_t stride, float* out) {
  kernels::map_rows(by_input.data(), d, n_rows, in, stride, out);
}

}  // namespace

std::vector<float> transposed(int d, const std::vector<float>& matrix) {
  std::vector<float> out(matrix.size());
  const auto n = static_cast<size_t>(d);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) out[j * n + i] = matrix[i * n + j];
  return out;
}

MatrixCodecOptions options_of_layer(const Calibration& calibration, int layer, std::string name, uint16_t id,
                                    uint16_t version) {
  MatrixCodecOptions options;
  options.name = std::move(name);
  options.layer = layer;
  options.head_dim = calibration.layers[static_cast<size_t>(layer)].head_dim;
  options.tag.id = id;
  options.tag.version = version;
  options.tag.parameter = calibration.digest.low;
  return options;
}

void add_layer(std::string_view family, const Calibration& calibration, const MatrixCodecOptions& options,
               Digester* digester) {
  digester->add(family);
  digester->add(options.tag.version);
  digester->add(kPageLayoutVersion);
  digester->add(calibration.digest.hex());
  digester->add(static_cast<uint64_t>(options.layer));
}

MatrixCodec::MatrixCodec(MatrixCodecOptions options, std::vector<MatrixMaps> maps)
    : options_(std::move(options)), maps_(std::move(maps)) {}

size_t MatrixCodec::page_bytes(int n_kv_heads, int head_dim, int n_tokens) const {
  return quant::page_bytes(options_.tag, n_kv_heads, head_dim, n_tokens);
}

Status MatrixCodec::check_meta(const PageMeta& meta) const {
  if (meta.layer == options_.layer && meta.head_dim == options_.head_dim &&
      (maps_.size() == 1 || maps_.size() == static_cast<size_t>(meta.n_kv_heads)))
    return ok_status();
  return invalid_argument(options_.name + " of layer " + std::to_string(options_.layer) + " (" +
                          std::to_string(maps_.size()) + " maps of " + std::to_string(options_.head_dim) +
                          " dims) got a page of layer " + std::to_string(meta.layer) + " with " +
                          std::to_string(meta.n_kv_heads) + " heads of " + std::to_string(meta.head_dim));
}

Status MatrixCodec::encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(check_page(options_.tag, meta, out.size()));
  RECALLD_RETURN_IF_ERROR(check_meta(meta));
  std::ranges::fill(out, std::byte{0});
  const int d = meta.head_dim;
  const kernels::EncodeSpec k_spec{kernels::resolve(options_.tag.k, d), options_.k_rule, nullptr, d, options_.k_clip};
  const kernels::EncodeSpec v_spec{kernels::resolve(options_.tag.v, d), options_.v_rule, nullptr, d, options_.v_clip};
  const auto width = static_cast<size_t>(d);
  const size_t stride = static_cast<size_t>(meta.n_kv_heads) * width;
  const kernels::RopeShift turn(options_.rope.value_or(kernels::RopeSpec()), -key_origin(meta));
  std::vector<float> rows(static_cast<size_t>(meta.n_tokens) * width);
  for (int head = 0; head < meta.n_kv_heads; ++head) {
    const MatrixMaps& map = maps(head);
    const PageSections to = page_sections(options_.tag, meta, head, out);
    const size_t first = static_cast<size_t>(head) * width;
    gather(d, meta.n_tokens, k + first, stride, rows.data());
    turn.rotate(meta.n_tokens, d, rows.data(), width, rows.data());
    apply(d, map.k_encode, meta.n_tokens, rows.data(), width, rows.data());
    const float* mean = map.k_mean.empty() ? nullptr : map.k_offset.data();
    float page_mean[kernels::kMaxHeadDim];
    if (to.k_mean != nullptr) {
      mean_of(d, meta.n_tokens, rows.data(), to.k_mean, page_mean);
      mean = page_mean;
    }
    kernels::encode_keys(k_spec, meta.n_tokens, rows.data(), width, mean, {to.k, to.k_scale, to.k_offset});
    gather(d, meta.n_tokens, v + first, stride, rows.data());
    apply(d, map.v_encode, meta.n_tokens, rows.data(), width, rows.data());
    kernels::encode_values(v_spec, meta.n_tokens, rows.data(), width, {to.v, to.v_scale, to.v_offset});
  }
  write_page_header(options_.tag, meta, out);
  return ok_status();
}

Status MatrixCodec::decode_page(const PageView& page, float* k, float* v) const {
  if (!(page.codec == options_.tag)) return invalid_argument(options_.name + ": the page was written by another codec");
  RECALLD_RETURN_IF_ERROR(check_meta(page.meta));
  const int d = page.meta.head_dim;
  const auto width = static_cast<size_t>(d);
  const size_t stride = static_cast<size_t>(page.meta.n_kv_heads) * width;
  std::vector<float> rows(static_cast<size_t>(page.meta.n_tokens) * width);
  const kernels::RopeShift turn(options_.rope.value_or(kernels::RopeSpec()), key_origin(page.meta));
  const auto scatter = [&](const std::vector<float>& by_input, bool keys, float* to) {
    apply(d, by_input, page.meta.n_tokens, rows.data(), width, rows.data());
    if (keys) turn.rotate(page.meta.n_tokens, d, rows.data(), width, rows.data());
    for (size_t token = 0; token < static_cast<size_t>(page.meta.n_tokens); ++token)
      std::copy_n(rows.data() + token * width, width, to + token * stride);
  };
  for (int head = 0; head < page.meta.n_kv_heads; ++head) {
    const MatrixMaps& map = maps(head);
    kernels::PageSlice slice = page.slice(head);
    if (const uint16_t* mean = key_mean(head); mean != nullptr) slice.k_mean = mean;
    const size_t first = static_cast<size_t>(head) * width;
    kernels::decode_keys(slice, d, rows.data(), width);
    scatter(transposed(d, map.k_query), true, k + first);
    kernels::decode_values(slice, d, rows.data(), width);
    scatter(map.v_restore, false, v + first);
  }
  return ok_status();
}

void MatrixCodec::transform_queries(int, int head, int head_dim, int n_rows, const float* q, float* out) const {
  apply(head_dim, maps(head).k_query, n_rows, q, static_cast<size_t>(head_dim), out);
}

void MatrixCodec::restore_outputs(int, int head, int head_dim, int n_rows, float* acc) const {
  apply(head_dim, maps(head).v_restore, n_rows, acc, static_cast<size_t>(head_dim), acc);
}

const uint16_t* MatrixCodec::key_mean(int head) const {
  const std::vector<uint16_t>& mean = maps(head).k_mean;
  return mean.empty() ? nullptr : mean.data();
}

}  // namespace recalld::quant
