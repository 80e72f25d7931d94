// An archive, decoded to pages of none16.
#include <stdexcept>

#include "quant/archive.h"
#include "quant/none16.h"
#include "tests/fuzz/exact_buffer.h"
#include "tests/fuzz/page_bytes.h"
#include "tests/quant/chunks.h"
#include "tests/quant/vectors.h"

namespace recalld::testing {
namespace {

constexpr size_t kMaxBytes = 1024;
constexpr size_t kMaxResident = 1 << 16;
constexpr size_t kResidentOffset = 16;

std::vector<Bytes> seeds() {
  std::vector<Bytes> archives;
  const std::vector<std::shared_ptr<const quant::Codec>> two_layers(2, std::make_shared<quant::None16>());
  unsigned seed = 0;
  for (const Kind kind : {Kind::kGaussian, Kind::kBigMean, Kind::kStudentT, Kind::kOneSparse})
    for (const int n_tokens : {1, 5, 17}) {
      quant::PageMeta meta;
      meta.n_kv_heads = 1 + n_tokens % 2;
      meta.head_dim = 16;
      meta.n_tokens = n_tokens;
      meta.rope_start = 3;
      const AlignedBuffer pages = chunk_of(two_layers, meta, [&](size_t) {
        auto k = vectors(kind, n_tokens * meta.n_kv_heads, meta.head_dim, ++seed),
             v = vectors(kind, n_tokens * meta.n_kv_heads, meta.head_dim, ++seed);
        std::fill_n(v.begin(), meta.head_dim, 0.0F);
        return std::pair(std::move(k), std::move(v));
      });
      quant::ArchiveOptions options;
      if (n_tokens == 5) options.rope = kernels::RopeSpec{16, kind == Kind::kGaussian, std::vector<float>(8, 0.5F)};
      Bytes archive = quant::encode_archive(pages.span(), options).value();
      if (archive.size() <= kMaxBytes) archives.push_back(std::move(archive));
    }
  return archives;
}

bool read(std::span<const std::byte> bytes) {
  ExactBuffer copy(bytes);
  const auto info = quant::inspect_archive(copy.span());
  if (!info.ok() || info->resident_bytes > kMaxResident) return false;
  ExactBuffer pages(info->resident_bytes);
  if (!quant::decode_archive(copy.span(), pages.span()).ok()) return false;
  if (count_pages(pages.span()) != info->n_pages)
    throw std::logic_error("an archive decodes to another number of pages");
  return true;
}

void mend(Bytes& bytes, Random& random) {
  if (random() % 16 == 0 || bytes.size() < kResidentOffset) return;
  fix_chunk_checksum(bytes);
}

}  // namespace

const FuzzTarget kArchiveTarget = {"archive", kMaxBytes, seeds, read, mend};

}  // namespace recalld::testing
