#include "quant/turboquant.h"

#include <algorithm>

namespace recalld::quant {
namespace {

constexpr kernels::ScaleRule kKeyRule = kernels::ScaleRule::kMatched;
constexpr kernels::ScaleRule kValueRule = kernels::ScaleRule::kUnbiased;
constexpr uint64_t kValueSeedMask = 0x5654'5654'5654'5654u;

std::string make_name(int k_bits, int v_bits, bool centred) {
  const std::string k = std::to_string(k_bits), v = std::to_string(v_bits);
  return "turboquant-" + (k == v ? k : "k" + k + "v" + v) + (centred ? "" : "-plain");
}

}  // namespace

TurboQuant::TurboQuant(int k_bits, int v_bits, bool centred, uint64_t seed)
    : name_(make_name(k_bits, v_bits, centred)),
      k_flips_(kernels::sign_flips(seed)),
      v_flips_(kernels::sign_flips(seed ^ kValueSeedMask)) {
  tag_.id = kTurboQuantId;
  tag_.k_bits = static_cast<uint8_t>(k_bits);
  tag_.v_bits = static_cast<uint8_t>(v_bits);
  tag_.flags = centred ? kFlagCentred : 0;
  tag_.seed = seed;
}

Digest128 TurboQuant::digest() const {
  Digester digester;
  digester.add("turboquant");
  digester.add(tag_.version);
  digester.add(kPageLayoutVersion);
  digester.add(tag_.flags);
  digester.add(tag_.seed);
  for (const int bits : {tag_.k_bits, tag_.v_bits}) {
    const kernels::Codebook& book = kernels::lloyd_max(bits);
    digester.add(static_cast<uint64_t>(bits));
    digester.add(std::as_bytes(std::span(book.levels)));
    digester.add(std::as_bytes(std::span(&book.unit, 1)));
    digester.add(std::as_bytes(std::span(book.boundaries)));
  }
  return digester.finish();
}

size_t TurboQuant::page_bytes(int n_kv_heads, int head_dim, int n_tokens) const {
  return quant::page_bytes(tag_, n_kv_heads, head_dim, n_tokens);
}

Status TurboQuant::encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(check_page(tag_, meta, out.size()));
  std::ranges::fill(out, std::byte{0});
  const kernels::EncodeSpec k_spec{tag_.k_bits, kKeyRule, &k_flips_, meta.head_dim};
  const kernels::EncodeSpec v_spec{tag_.v_bits, kValueRule, &v_flips_, meta.head_dim};
  const size_t stride = static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
  for (int head = 0; head < meta.n_kv_heads; ++head) {
    const PageSections to = page_sections(tag_, meta, head, out);
    const size_t first = static_cast<size_t>(head) * static_cast<size_t>(meta.head_dim);
    float mean[kernels::kMaxHeadDim];
    if (to.k_mean != nullptr)
      kernels::transformed_mean(k_flips_, meta.head_dim, meta.n_tokens, k + first, stride, to.k_mean, mean);
    kernels::encode_keys(k_spec, meta.n_tokens, k + first, stride, to.k_mean != nullptr ? mean : nullptr, to.k,
                         to.k_scale);
    kernels::encode_values(v_spec, meta.n_tokens, v + first, stride, to.v, to.v_scale);
  }
  write_page_header(tag_, meta, out);
  return ok_status();
}

Status TurboQuant::decode_page(const PageView& page, float* k, float* v) const {
  if (!(page.codec == tag_)) return invalid_argument(name_ + ": the page was written by another codec");
  const int dims = page.meta.head_dim, heads = page.meta.n_kv_heads;
  const int padded = kernels::padded_tokens(page.meta.n_tokens);
  const kernels::Codebook& k_book = kernels::lloyd_max(tag_.k_bits);
  const kernels::Codebook& v_book = kernels::lloyd_max(tag_.v_bits);
  for (int head = 0; head < heads; ++head) {
    const kernels::PageSlice slice = page.slice(head);
    for (int token = 0; token < page.meta.n_tokens; ++token) {
      const size_t row = static_cast<size_t>(token * heads + head) * static_cast<size_t>(dims);
      const float k_scale = half_to_float(slice.k_scale[token]) * k_book.unit;
      const float v_scale = half_to_float(slice.v_scale[token]) * v_book.unit;
      for (int dim = 0; dim < dims; ++dim) {
        const int k_code = kernels::get_k_code(slice.k, padded, dims, tag_.k_bits, token, dim);
        const int v_code = kernels::get_v_code(slice.v, padded, dims, tag_.v_bits, token, dim);
        const float mean = slice.k_mean != nullptr ? half_to_float(slice.k_mean[dim]) : 0.0F;
        k[row + static_cast<size_t>(dim)] = k_scale * static_cast<float>(k_book.levels[k_code]) + mean;
        v[row + static_cast<size_t>(dim)] = v_scale * static_cast<float>(v_book.levels[v_code]);
      }
      kernels::inverse_hadamard(k_flips_, dims, 1, k + row);
      kernels::inverse_hadamard(v_flips_, dims, 1, v + row);
    }
  }
  return ok_status();
}

void TurboQuant::transform_queries(int, int, int head_dim, int n_rows, const float* q, float* out) const {
  kernels::hadamard(k_flips_, head_dim, n_rows, q, static_cast<size_t>(head_dim), out);
}

void TurboQuant::restore_outputs(int, int, int head_dim, int n_rows, float* acc) const {
  kernels::inverse_hadamard(v_flips_, head_dim, n_rows, acc);
}

}  // namespace recalld::quant
