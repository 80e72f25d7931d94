#include "bench/kernels/encode.h"

#include <ggml-cpu.h>
#include <ggml.h>

#include <cstring>
#include <random>
#include <stdexcept>

#include "kernels/encode.h"

namespace recalld::bench {
namespace {

constexpr int kHeads = 4, kTokens = 64;
constexpr size_t kValues = size_t{16} << 20;  // of each side: 64 MiB

std::vector<float> normal_values(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(kValues);
  for (float& x : values) x = normal(random);
  return values;
}

}  // namespace

EncodeProblem::EncodeProblem(int head_dim)
    : head_dim_(head_dim),
      k_(normal_values(1)),
      v_(normal_values(2)),
      copied_(kValues),
      coded_(ggml_row_size(GGML_TYPE_Q4_0, head_dim)),
      page_(size_t{kTokens} * kHeads * static_cast<size_t>(head_dim) * 2 * sizeof(float)) {
  ggml_cpu_init();
}

size_t EncodeProblem::n_vectors() const { return 2 * kValues / static_cast<size_t>(head_dim_); }

void EncodeProblem::copy() {
  std::memcpy(copied_.data(), k_.data(), kValues * sizeof(float));
  std::memcpy(copied_.data(), v_.data(), kValues * sizeof(float));
}

void EncodeProblem::encode(const quant::Codec& codec) {
  quant::PageMeta meta;
  meta.n_kv_heads = kHeads;
  meta.head_dim = head_dim_;
  meta.n_tokens = kTokens;
  const size_t values = size_t{kTokens} * kHeads * static_cast<size_t>(head_dim_);
  const auto page = page_.span().first(codec.page_bytes(kHeads, head_dim_, kTokens));
  for (size_t at = 0; at + values <= kValues; at += values) {
    const Status status = codec.encode_page(meta, k_.data() + at, v_.data() + at, page);
    if (!status.ok()) throw std::runtime_error(status.to_string());
  }
}

void EncodeProblem::encode_trellis(int bits) {
  kernels::SideFormat format = kernels::one_band(bits, head_dim_);
  format.grid = kernels::Grid::kTrellis;
  format.byte_scales = true;
  const kernels::SignFlips flips = kernels::sign_flips(1);
  const kernels::EncodeSpec spec{format, kernels::ScaleRule::kLeastSquares, &flips, head_dim_};
  const auto values = static_cast<size_t>(kTokens) * static_cast<size_t>(head_dim_);
  auto* codes = reinterpret_cast<uint8_t*>(page_.data());
  const kernels::CodedSide out{codes, codes + kernels::side_bytes(kTokens, head_dim_, format), nullptr};
  for (size_t at = 0; at + values <= kValues; at += values) {
    kernels::encode_keys(spec, kTokens, k_.data() + at, static_cast<size_t>(head_dim_), nullptr, out);
    kernels::encode_values(spec, kTokens, v_.data() + at, static_cast<size_t>(head_dim_), out);
  }
}

void EncodeProblem::encode_q4_0() {
  const auto convert = ggml_get_type_traits_cpu(GGML_TYPE_Q4_0)->from_float;
  for (const std::vector<float>* side : {&k_, &v_})
    for (size_t at = 0; at + static_cast<size_t>(head_dim_) <= kValues; at += static_cast<size_t>(head_dim_))
      convert(side->data() + at, coded_.data(), head_dim_);
}

}  // namespace recalld::bench
