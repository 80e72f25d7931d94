#include "cache/chunk.h"

namespace recalld::cache {

Result<ChunkPtr> open_chunk(PooledBuffer buffer, const Digest128& fingerprint) {
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
    if (codec == nullptr || codec->tag() != page.codec) {
      RECALLD_ASSIGN_OR_RETURN(codec, quant::codec_for(page.codec));
    }
    chunk->pages.push_back(std::make_shared<Page>(chunk->buffer, page, codec));
    rest = rest.subspan(page.bytes.size());
  }
  if (chunk->pages.empty()) return corrupt("a chunk without pages");
  return ChunkPtr(chunk);
}

}  // namespace recalld::cache
