#include "bench/codecs/reference_codec.h"

#include <cmath>
#include <vector>

namespace recalld::bench {

Digest128 ReferenceCodec::digest() const {
  Digester digester;
  digester.add("reference");
  digester.add(name_);
  digester.add(plain_.digest().hex());
  return digester.finish();
}

Status ReferenceCodec::encode_page(const quant::PageMeta& meta, const float* k, const float* v,
                                   std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(quant::check_page(tag(), meta, out.size()));
  const size_t size =
      static_cast<size_t>(meta.n_tokens) * static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
  std::vector<float> keys(k, k + size), values(v, v + size);
  for (std::vector<float>* numbers : {&keys, &values})
    for (float& number : *numbers)
      if (!std::isfinite(number)) number = 0;
  RECALLD_RETURN_IF_ERROR(approximate(meta, keys, values));
  return plain_.encode_page(meta, keys.data(), values.data(), out);
}

}  // namespace recalld::bench
