#include "quant/turboquant.h"

#include <algorithm>

#include "kernels/decode.h"

namespace recalld::quant {
namespace {

constexpr kernels::ScaleRule kKeyRule = kernels::ScaleRule::kMatched;
constexpr kernels::ScaleRule kValueRule = kernels::ScaleRule::kUnbiased;
constexpr uint64_t kValueSeedMask = 0x5654'5654'5654'5654u;

const char* family(kernels::Grid grid) { return grid == kernels::Grid::kTrellis ? "trellis" : "turboquant"; }

std::string make_name(kernels::Grid grid, int k_bits, int v_bits, bool centred) {
  const std::string k = std::to_string(k_bits), v = std::to_string(v_bits);
  return std::string(family(grid)) + "-" + (k == v ? k : "k" + k + "v" + v) + (centred ? "" : "-plain");
}

kernels::SideFormat format_of(kernels::Grid grid, int bits) {
  kernels::SideFormat format = kernels::one_band(bits);
  format.grid = grid;
  return format;
}

}  // namespace

TurboQuant::TurboQuant(kernels::Grid grid, int k_bits, int v_bits, bool centred, uint64_t seed)
    : name_(make_name(grid, k_bits, v_bits, centred)),
      k_flips_(kernels::sign_flips(seed)),
      v_flips_(kernels::sign_flips(seed ^ kValueSeedMask)) {
  tag_.id = grid == kernels::Grid::kTrellis ? kTrellisId : kTurboQuantId;
  tag_.k = format_of(grid, k_bits);
  tag_.v = format_of(grid, v_bits);
  tag_.flags = centred ? kFlagCentred : 0;
  tag_.parameter = seed;
}

Digest128 TurboQuant::digest() const {
  Digester digester;
  digester.add(family(tag_.k.grid));
  digester.add(tag_.version);
  digester.add(kPageLayoutVersion);
  digester.add(tag_.flags);
  digester.add(tag_.parameter);
  for (const kernels::SideFormat& side : {tag_.k, tag_.v}) {
    const int bits = side.bands[0].bits;
    const kernels::Codebook& book = kernels::codebook(side.grid, bits);
    const bool all = side.grid == kernels::Grid::kTrellis;
    digester.add(static_cast<uint64_t>(bits));
    digester.add(std::as_bytes(std::span(book.levels).first(all ? std::size(book.levels) : 16)));
    digester.add(std::as_bytes(std::span(&book.unit, 1)));
    digester.add(std::as_bytes(std::span(book.boundaries).first(all ? std::size(book.boundaries) : 15)));
  }
  return digester.finish();
}

size_t TurboQuant::page_bytes(int n_kv_heads, int head_dim, int n_tokens) const {
  return quant::page_bytes(tag_, n_kv_heads, head_dim, n_tokens);
}

Status TurboQuant::encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(check_page(tag_, meta, out.size()));
  std::ranges::fill(out, std::byte{0});
  const kernels::EncodeSpec k_spec{kernels::resolve(tag_.k, meta.head_dim), kKeyRule, &k_flips_, meta.head_dim};
  const kernels::EncodeSpec v_spec{kernels::resolve(tag_.v, meta.head_dim), kValueRule, &v_flips_, meta.head_dim};
  const size_t stride = static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
  for (int head = 0; head < meta.n_kv_heads; ++head) {
    const PageSections to = page_sections(tag_, meta, head, out);
    const size_t first = static_cast<size_t>(head) * static_cast<size_t>(meta.head_dim);
    float mean[kernels::kMaxHeadDim];
    if (to.k_mean != nullptr)
      kernels::transformed_mean(k_flips_, meta.head_dim, meta.n_tokens, k + first, stride, to.k_mean, mean);
    kernels::encode_keys(k_spec, meta.n_tokens, k + first, stride, to.k_mean != nullptr ? mean : nullptr,
                         {to.k, to.k_scale, nullptr});
    kernels::encode_values(v_spec, meta.n_tokens, v + first, stride, {to.v, to.v_scale, nullptr});
  }
  write_page_header(tag_, meta, out);
  return ok_status();
}

Status TurboQuant::decode_page(const PageView& page, float* k, float* v) const {
  if (!(page.codec == tag_)) return invalid_argument(name_ + ": the page was written by another codec");
  const int dims = page.meta.head_dim, heads = page.meta.n_kv_heads;
  const size_t stride = static_cast<size_t>(heads) * static_cast<size_t>(dims);
  for (int head = 0; head < heads; ++head) {
    const kernels::PageSlice slice = page.slice(head);
    const size_t first = static_cast<size_t>(head) * static_cast<size_t>(dims);
    kernels::decode_keys(slice, dims, k + first, stride);
    kernels::decode_values(slice, dims, v + first, stride);
    for (size_t row = first; row < first + static_cast<size_t>(page.meta.n_tokens) * stride; row += stride) {
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
