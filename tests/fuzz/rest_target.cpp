// A chunk at rest, decoded to its pages.
#include <cstring>
#include <stdexcept>

#include "quant/rest.h"
#include "tests/fuzz/exact_buffer.h"
#include "tests/fuzz/page_bytes.h"
#include "tests/quant/chunks.h"

namespace recalld::testing {
namespace {

constexpr size_t kMaxBytes = 2048;
// The decoder writes into memory of the size that a chunk claims; who has the memory is the caller.
constexpr size_t kMaxResident = 1 << 18;
constexpr size_t kResidentOffset = 16, kPagesOffset = 24, kFormOffset = 28, kHeadBytes = 40;
constexpr size_t kHeaderInChunk = quant::kPageHeaderBytes - sizeof(uint64_t);

std::vector<Bytes> seeds() {
  std::vector<Bytes> chunks;
  const std::vector<Bytes> pages = pages_of_every_codec();
  const auto add = [&](std::initializer_list<size_t> list) {
    AlignedBuffer together([&] {
      size_t size = 0;
      for (const size_t i : list) size += pages[i % pages.size()].size();
      return size;
    }());
    size_t at = 0;
    for (const size_t i : list) {
      const Bytes& page = pages[i % pages.size()];
      std::memcpy(together.data() + at, page.data(), page.size());
      at += page.size();
    }
    Bytes chunk = quant::encode_rest(together.span()).value();
    if (chunk.size() <= kMaxBytes) chunks.push_back(std::move(chunk));
  };
  for (size_t i = 0; i < pages.size(); ++i) {
    add({i});
    add({i, i + 1});
    add({i, i + 7, i + 3});
  }
  // Pages that differ by their layer alone share a header.
  for (const Bytes& page : pages) {
    AlignedBuffer layers(page.size() * 3);
    for (uint16_t layer = 0; layer < 3; ++layer) {
      const std::span<std::byte> to = layers.span().subspan(layer * page.size(), page.size());
      std::memcpy(to.data(), page.data(), page.size());
      std::memcpy(to.data() + 40, &layer, sizeof layer);
      fix_page_checksum(to);
    }
    Bytes chunk = quant::encode_rest(layers.span()).value();
    if (chunk.size() <= kMaxBytes) chunks.push_back(std::move(chunk));
  }
  return chunks;
}

bool read(std::span<const std::byte> bytes) {
  ExactBuffer copy(bytes);
  const auto info = quant::inspect_rest(copy.span());
  if (!info.ok() || info->resident_bytes > kMaxResident) return false;
  ExactBuffer pages(info->resident_bytes);
  if (!quant::decode_rest(copy.span(), pages.span()).ok()) return false;
  if (info->coded && count_pages(pages.span()) != info->n_pages)
    throw std::logic_error("a chunk decodes to another number of pages");
  return true;
}

uint32_t word_at(const Bytes& bytes, size_t offset) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

// What the page headers in it say about sizes, repeated where a chunk says so itself.
void fix_sizes(Bytes& bytes) {
  if (bytes.size() < kHeadBytes + sizeof(uint32_t) || word_at(bytes, kFormOffset) != 1) return;
  size_t at = kHeadBytes + sizeof(uint32_t);
  const size_t end = std::min(bytes.size(), at + word_at(bytes, kHeadBytes));
  uint64_t resident = 0, size = 0;
  uint32_t n_pages = 0;
  for (; at < end; ++n_pages, resident += size) {
    const auto mark = static_cast<uint8_t>(bytes[at++]);
    if (mark == 0) continue;
    if (mark != 1 || end - at < kHeaderInChunk) return;
    std::array<std::byte, quant::kPageHeaderBytes> header{};
    std::memcpy(header.data(), bytes.data() + at, kHeaderInChunk);
    const auto known = size_of_page(header);
    if (!known) return;
    size = *known;
    const auto stored = static_cast<uint32_t>(size);
    std::memcpy(bytes.data() + at + kPageSizeOffset, &stored, sizeof stored);
    at += kHeaderInChunk;
  }
  if (resident > kMaxResident) return;
  std::memcpy(bytes.data() + kResidentOffset, &resident, sizeof resident);
  std::memcpy(bytes.data() + kPagesOffset, &n_pages, sizeof n_pages);
}

void mend(Bytes& bytes, Random& random) {
  const auto way = random() % 16;
  if (way == 0 || bytes.size() < kResidentOffset) return;
  if (way < 12) fix_sizes(bytes);
  fix_chunk_checksum(bytes);
}

}  // namespace

const FuzzTarget kRestTarget = {"rest", kMaxBytes, seeds, read, mend};

}  // namespace recalld::testing
