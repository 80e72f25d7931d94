#include "cache/chunk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "quant/archive.h"
#include "quant/rest.h"

namespace recalld::cache {
namespace {

// One page for each meta, in their order, in one new buffer.
Result<std::shared_ptr<Chunk>> encode_pages(const CodecPlan& plan, std::span<const quant::PageMeta> metas,
                                            const RowReader& rows, MemoryPool& pool) {
  size_t bytes = 0, floats = 0;
  for (size_t i = 0; i < metas.size(); ++i) {
    const quant::PageMeta& meta = metas[i];
    bytes += plan.layers[i]->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
    floats = std::max(floats, static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim) *
                                  static_cast<size_t>(meta.n_tokens));
  }
  RECALLD_ASSIGN_OR_RETURN(PooledBuffer buffer, pool.allocate(bytes));
  const auto shared = std::make_shared<PooledBuffer>(std::move(buffer));
  auto chunk = std::make_shared<Chunk>();
  chunk->buffer = shared;
  std::vector<float> k(floats), v(floats);
  size_t offset = 0;
  for (size_t i = 0; i < metas.size(); ++i) {
    const quant::PageMeta& meta = metas[i];
    RECALLD_RETURN_IF_ERROR(rows(meta.layer, k.data(), v.data()));
    const size_t size = plan.layers[i]->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
    const std::span<std::byte> out = shared->span().subspan(offset, size);
    RECALLD_RETURN_IF_ERROR(plan.layers[i]->encode_page(meta, k.data(), v.data(), out));
    RECALLD_ASSIGN_OR_RETURN(const quant::PageView page, quant::parse_page(out));
    chunk->pages.push_back(std::make_shared<Page>(shared, page, plan.layers[i]));
    offset += size;
  }
  return chunk;
}

// Null when layers rotate keys in different ways: an archive knows of one.
std::shared_ptr<const kernels::RopeSpec> rope_of_all(const CacheShape& shape) {
  const auto& first = shape.layers.front().rope;
  const bool same = std::ranges::all_of(shape.layers, [&](const LayerShape& layer) { return layer.rope == first; });
  return same ? first : nullptr;
}

// The rows of a chunk whose pages are those of layers 0, 1, ...
RowReader rows_of(const Chunk& chunk) {
  return [&chunk](int layer, float* k, float* v) {
    const Page& page = *chunk.pages[static_cast<size_t>(layer)];
    return page.codec().decode_page(page.view(), k, v);
  };
}

Result<ChunkPtr> unpack_archive(std::span<const std::byte> archive, const Digest128& fingerprint, MemoryPool& pool,
                                const CodecPlan& plan) {
  RECALLD_ASSIGN_OR_RETURN(const quant::ArchiveInfo info, quant::inspect_archive(archive));
  RECALLD_ASSIGN_OR_RETURN(PooledBuffer buffer, pool.allocate(info.resident_bytes));
  RECALLD_RETURN_IF_ERROR(quant::decode_archive(archive, buffer.span()));
  RECALLD_ASSIGN_OR_RETURN(const ChunkPtr plain, open_chunk(std::move(buffer), fingerprint));
  if (plan.layers.empty()) return plain;
  std::vector<quant::PageMeta> metas;
  for (const PagePtr& page : plain->pages) {
    if (page->meta().layer != static_cast<int32_t>(metas.size()) || metas.size() == plan.layers.size())
      return corrupt("an archive whose pages are not those of the model's " + std::to_string(plan.layers.size()) +
                     " layers in their order");
    metas.push_back(page->meta());
  }
  RECALLD_ASSIGN_OR_RETURN(const auto chunk, encode_pages(plan, metas, rows_of(*plain), pool));
  RECALLD_ASSIGN_OR_RETURN(PooledBuffer kept, pool.allocate(archive.size()));
  std::ranges::copy(archive, kept.data());
  chunk->archive = std::make_shared<const PooledBuffer>(std::move(kept));
  return ChunkPtr(chunk);
}

}  // namespace

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

Result<std::vector<std::byte>> pack_chunk(const Chunk& chunk) {
  if (chunk.archive == nullptr) return quant::encode_rest(chunk.buffer->span());
  const std::span<const std::byte> archive = chunk.archive->span();
  return std::vector(archive.begin(), archive.end());
}

Result<ChunkPtr> unpack_chunk(std::span<const std::byte> packed, const Digest128& fingerprint, MemoryPool& pool,
                              const CodecPlan& plan) {
  if (quant::is_archive(packed)) return unpack_archive(packed, fingerprint, pool, plan);
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
  std::vector<quant::PageMeta> metas;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    meta.layer = static_cast<int32_t>(layer);
    meta.n_kv_heads = shape.layers[layer].n_kv_heads;
    meta.head_dim = shape.layers[layer].head_dim;
    metas.push_back(meta);
  }
  RECALLD_ASSIGN_OR_RETURN(ChunkPtr chunk,
                           encode_pages(plan.archive.empty() ? plan : plain_plan(metas.size()), metas, rows, pool));
  if (plan.archive.empty()) return chunk;
  RECALLD_ASSIGN_OR_RETURN(quant::ArchiveOptions options, quant::archive_options(plan.archive));
  if (const auto rope = rope_of_all(shape); rope != nullptr) options.rope = *rope;
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> archive, quant::encode_archive(chunk->buffer->span(), options));
  return unpack_archive(archive, meta.fingerprint, pool, plan);
}

Result<ChunkPtr> recode_chunk(const CacheShape& shape, const Chunk& chunk, const CodecPlan& plan, MemoryPool& pool) {
  if (chunk.pages.size() != shape.layers.size()) return invalid_argument("a chunk that lacks layers");
  return encode_chunk(shape, plan, chunk.pages.front()->meta(), rows_of(chunk), pool);
}

}  // namespace recalld::cache
