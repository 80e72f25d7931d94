#include "quant/none16.h"

#include <algorithm>

#include "kernels/encode.h"

namespace recalld::quant {

None16::None16() { tag_.id = kNone16Id; }

Digest128 None16::digest() const {
  Digester digester;
  digester.add(name_);
  digester.add(tag_.version);
  digester.add(kPageLayoutVersion);
  return digester.finish();
}

size_t None16::page_bytes(int n_kv_heads, int head_dim, int n_tokens) const {
  return quant::page_bytes(tag_, n_kv_heads, head_dim, n_tokens);
}

Status None16::encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(check_page(tag_, meta, out.size()));
  std::ranges::fill(out, std::byte{0});
  const size_t stride = static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
  for (int head = 0; head < meta.n_kv_heads; ++head) {
    const PageSections to = page_sections(tag_, meta, head, out);
    const size_t first = static_cast<size_t>(head) * static_cast<size_t>(meta.head_dim);
    kernels::store_key_halves(meta.head_dim, meta.n_tokens, k + first, stride, reinterpret_cast<uint16_t*>(to.k));
    kernels::store_value_halves(meta.head_dim, meta.n_tokens, v + first, stride, reinterpret_cast<uint16_t*>(to.v));
  }
  write_page_header(tag_, meta, out);
  return ok_status();
}

Status None16::decode_page(const PageView& page, float* k, float* v) const {
  if (!(page.codec == tag_)) return invalid_argument("none16: the page was written by another codec");
  const int dims = page.meta.head_dim, heads = page.meta.n_kv_heads;
  for (int head = 0; head < heads; ++head) {
    const kernels::PageSlice slice = page.slice(head);
    const auto* k_halves = reinterpret_cast<const uint16_t*>(slice.k);
    const auto* v_halves = reinterpret_cast<const uint16_t*>(slice.v);
    for (int token = 0; token < page.meta.n_tokens; ++token) {
      const size_t row = static_cast<size_t>(token * heads + head) * static_cast<size_t>(dims);
      for (int dim = 0; dim < dims; ++dim) {
        const size_t at = row + static_cast<size_t>(dim);
        k[at] = half_to_float(k_halves[kernels::k_half_index(dims, token, dim)]);
        v[at] = half_to_float(v_halves[kernels::v_half_index(dims, token, dim)]);
      }
    }
  }
  return ok_status();
}

void None16::transform_queries(int, int, int head_dim, int n_rows, const float* q, float* out) const {
  if (q != out) std::copy_n(q, static_cast<size_t>(n_rows) * static_cast<size_t>(head_dim), out);
}

void None16::restore_outputs(int, int, int, int, float*) const {}

}  // namespace recalld::quant
