#include "cache/chunk.h"

#include <algorithm>
#include <string>

#include "quant/rest.h"

namespace recalld::cache {

Result<ChunkPtr> open_chunk(PooledBuffer buffer, const Digest128& fingerprint, const CodecPlan& plan) {
  auto chunk = std::make_shared<Chunk>();
  chunk->buffer = std::make_shared<const PooledBuffer>(std::move(buffer));
  std::span<const std::byte> rest = chunk->buffer->span();
  std::shared_ptr<const quant::Codec> codec;
  while (!rest.empty()) {
    RECALLD_ASSIGN_OR_RETURN(const quant::PageView head, quant::parse_page_prefix(rest));
    RECALLD_ASSIGN_OR_RETURN(const quant::PageView page, quant::verify_page(head.bytes));
    if (page.meta.fingerprint != fingerprint)
      return failed_precondition("page of layer " + std::to_string(page.meta.layer) +
                                 " was made by another model or other settings (fingerprint " +
                                 page.meta.fingerprint.hex() + ", expected " + fingerprint.hex() + ")");
    const auto layer = static_cast<size_t>(page.meta.layer);
    if (layer < plan.layers.size() && plan.layers[layer]->tag() == page.codec) {
      codec = plan.layers[layer];
    } else if (codec == nullptr || codec->tag() != page.codec) {
      RECALLD_ASSIGN_OR_RETURN(codec, quant::codec_for(page.codec));
    }
    chunk->pages.push_back(std::make_shared<Page>(chunk->buffer, page, codec));
    rest = rest.subspan(page.bytes.size());
  }
  if (chunk->pages.empty()) return corrupt("a chunk without pages");
  return ChunkPtr(chunk);
}

Status check_chunk(const CacheShape& shape, const Chunk& chunk) {
  if (chunk.pages.size() != shape.layers.size())
    return corrupt("a chunk of " + std::to_string(chunk.pages.size()) + " pages for a model of " +
                   std::to_string(shape.layers.size()) + " layers");
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const quant::PageMeta& meta = chunk.pages[layer]->meta();
    const LayerShape& dims = shape.layers[layer];
    if (meta.layer != static_cast<int32_t>(layer) || meta.n_kv_heads != dims.n_kv_heads ||
        meta.head_dim != dims.head_dim)
      return corrupt("a page of layer " + std::to_string(meta.layer) + " (" + std::to_string(meta.n_kv_heads) +
                     " heads of " + std::to_string(meta.head_dim) + ") stands for layer " + std::to_string(layer) +
                     " (" + std::to_string(dims.n_kv_heads) + " heads of " + std::to_string(dims.head_dim) + ")");
    if (meta.n_tokens != chunk.n_tokens() || meta.token_start != chunk.token_start() ||
        meta.rope_start != chunk.pages.front()->meta().rope_start)
      return corrupt("the page of layer " + std::to_string(layer) + " holds other tokens than the chunk's first");
  }
  return ok_status();
}

Result<std::vector<std::byte>> pack_chunk(const Chunk& chunk) { return quant::encode_rest(chunk.buffer->span()); }

Result<ChunkPtr> unpack_chunk(std::span<const std::byte> packed, const Digest128& fingerprint, MemoryPool& pool,
                              const CodecPlan& plan) {
  RECALLD_ASSIGN_OR_RETURN(const quant::RestInfo info, quant::inspect_rest(packed));
  RECALLD_ASSIGN_OR_RETURN(PooledBuffer buffer, pool.allocate(info.resident_bytes));
  RECALLD_RETURN_IF_ERROR(quant::decode_rest(packed, buffer.span()));
  return open_chunk(std::move(buffer), fingerprint, plan);
}

Result<ChunkPtr> encode_chunk(const CacheShape& shape, const CodecPlan& plan, quant::PageMeta meta,
                              const RowReader& rows, MemoryPool& pool) {
  if (plan.layers.size() != shape.layers.size())
    return invalid_argument("a codec plan of " + std::to_string(plan.layers.size()) + " layers for a model of " +
                            std::to_string(shape.layers.size()));
  size_t bytes = 0, row_floats = 0;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const LayerShape& dims = shape.layers[layer];
    bytes += plan.layers[layer]->page_bytes(dims.n_kv_heads, dims.head_dim, meta.n_tokens);
    row_floats = std::max(row_floats, static_cast<size_t>(dims.n_kv_heads) * static_cast<size_t>(dims.head_dim));
  }
  RECALLD_ASSIGN_OR_RETURN(PooledBuffer buffer, pool.allocate(bytes));
  const auto shared = std::make_shared<PooledBuffer>(std::move(buffer));
  auto chunk = std::make_shared<Chunk>();
  chunk->buffer = shared;
  std::vector<float> k(row_floats * static_cast<size_t>(meta.n_tokens)), v(k.size());
  size_t offset = 0;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const auto& codec = plan.layers[layer];
    meta.layer = static_cast<int32_t>(layer);
    meta.n_kv_heads = shape.layers[layer].n_kv_heads;
    meta.head_dim = shape.layers[layer].head_dim;
    RECALLD_RETURN_IF_ERROR(rows(meta.layer, k.data(), v.data()));
    const size_t size = codec->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
    const std::span<std::byte> out = shared->span().subspan(offset, size);
    RECALLD_RETURN_IF_ERROR(codec->encode_page(meta, k.data(), v.data(), out));
    RECALLD_ASSIGN_OR_RETURN(const quant::PageView page, quant::parse_page(out));
    chunk->pages.push_back(std::make_shared<Page>(shared, page, codec));
    offset += size;
  }
  return ChunkPtr(chunk);
}

Result<ChunkPtr> recode_chunk(const CacheShape& shape, const Chunk& chunk, const CodecPlan& plan, MemoryPool& pool) {
  if (chunk.pages.size() != shape.layers.size()) return invalid_argument("a chunk that lacks layers");
  const RowReader rows = [&](int layer, float* k, float* v) {
    const Page& page = *chunk.pages[static_cast<size_t>(layer)];
    return page.codec().decode_page(page.view(), k, v);
  };
  return encode_chunk(shape, plan, chunk.pages.front()->meta(), rows, pool);
}

}  // namespace recalld::cache
