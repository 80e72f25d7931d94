#include "quant/rest.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "quant/chunk_head.h"
#include "quant/page_headers.h"
#include "quant/rest_walk.h"

namespace recalld::quant {
namespace {

constexpr uint32_t kMagic = 0x31435252;  // "RRC1"
constexpr uint16_t kVersion = 1;

enum Form : uint32_t { kVerbatim = 0, kCoded = 1 };

// Byte for byte what stands at the beginning (docs/rest-format.md).
struct Head {
  uint32_t magic;
  uint16_t version;
  uint16_t reserved;
  uint64_t checksum;  // of everything after it
  uint64_t resident_bytes;
  uint32_t n_pages;
  uint32_t form;
  uint64_t pages_checksum;  // of the pages' checksums, in their order
};
static_assert(sizeof(Head) == 40);

Status corrupt_rest(const std::string& what) { return corrupt("chunk at rest: " + what); }

uint64_t page_checksum(std::span<const std::byte> page) {
  uint64_t checksum;
  std::memcpy(&checksum, page.data() + kPageHeaderBytes - kPageChecksumBytes, sizeof checksum);
  return checksum;
}

uint64_t checksum_of(const std::vector<uint64_t>& page_checksums) {
  return checksum64(std::as_bytes(std::span(page_checksums)));
}

// Writes down what is to be coded, and counts it.
class Recorder {
 public:
  static constexpr bool kReads = false;

  void symbol(int table, const uint32_t& symbol) {
    records_.push_back({static_cast<uint16_t>(table), static_cast<uint16_t>(symbol)});
    ++counts_[static_cast<size_t>(table)][symbol];
  }
  void bits(const uint32_t& value, int n_bits) {
    records_.push_back({static_cast<uint16_t>(kBits + n_bits), static_cast<uint16_t>(value & ((1U << n_bits) - 1))});
  }
  void row(int table, const uint8_t* context, const uint8_t* symbols, int n) {
    for (int i = 0; i < n; ++i) symbol(table + context[i], symbols[i]);
  }

  // Tables and stream.
  void finish(std::vector<std::byte>& out) const {
    const rest::TableSet tables = rest::TableSet::of_counts(counts_);
    tables.pack(out);
    RansEncoder encoder;
    for (const auto& [kind, value] : records_) {
      if (kind >= kBits)
        encoder.put_bits(value, kind - kBits);
      else
        encoder.put(tables.table(kind).ranges[value]);
    }
    encoder.finish(out);
  }

 private:
  static constexpr uint16_t kBits = 0x8000;
  struct Record {
    uint16_t kind, value;
  };
  std::vector<Record> records_;
  rest::TableSet::Counts counts_ = rest::TableSet::Counts(size_t{rest::kBlocks} * rest::kBlockTables);
};

class Reader {
 public:
  static constexpr bool kReads = true;

  Reader(const rest::TableSet& tables, std::span<const std::byte> stream) : tables_(tables), decoder_(stream) {}
  void symbol(int table, uint32_t& symbol) { symbol = decoder_.get(tables_.table(table)); }
  void bits(uint32_t& value, int n_bits) { value = decoder_.get_bits(n_bits); }
  void row(int table, const uint8_t* context, uint8_t* symbols, int n) {
    decoder_.get_row(tables_.tables(table), context, symbols, n);
  }
  bool finish() const { return decoder_.finish(); }

 private:
  const rest::TableSet& tables_;
  RansDecoder decoder_;
};

Result<Head> read_head(std::span<const std::byte> encoded) {
  const Result<Head> head = quant::read_head<Head>(encoded, kMagic, kVersion);
  if (!head.ok()) return head.status().with_context("chunk at rest");
  if (head->form > kCoded) return corrupt_rest("form is " + std::to_string(head->form) + ", expected 0 or 1");
  return head;
}

Status decode_pages(const Head& head, std::span<const std::byte> body, std::span<std::byte> out) {
  // Headers stand before the tables and the stream, so that the payload can be read in one go.
  uint32_t header_bytes = 0;
  if (body.size() < sizeof header_bytes) return corrupt_rest("its page headers end early");
  std::memcpy(&header_bytes, body.data(), sizeof header_bytes);
  body = body.subspan(sizeof header_bytes);
  if (header_bytes > body.size()) return corrupt_rest("its page headers end early");
  std::span<const std::byte> headers = body.first(header_bytes);
  std::span<const std::byte> rest = body.subspan(header_bytes);
  RECALLD_ASSIGN_OR_RETURN(const rest::TableSet tables, rest::TableSet::parse(rest));
  Reader reader(tables, rest);
  rest::Walk<Reader> walk(reader);
  std::ranges::fill(out, std::byte{0});
  std::vector<uint64_t> checksums;
  PageView before;
  for (uint32_t i = 0; i < head.n_pages; ++i) {
    const Result<PageView> found = next_page(headers, i == 0 ? nullptr : &before, out);
    if (!found.ok()) return found.status().with_context("chunk at rest");
    const PageView& page = *found;
    const std::span<std::byte> bytes = out.first(page.bytes.size());
    walk.page(page.codec, page.meta, bytes);
    write_page_header(page.codec, page.meta, bytes);
    checksums.push_back(page_checksum(bytes));
    before = page;
    out = out.subspan(bytes.size());
  }
  if (!headers.empty() || !out.empty() || !reader.finish()) return corrupt_rest("its parts do not add up");
  if (checksum_of(checksums) != head.pages_checksum)
    return corrupt_rest("its pages do not match the checksum over them");
  return ok_status();
}

}  // namespace

Result<std::vector<std::byte>> encode_rest(std::span<const std::byte> pages) {
  if (pages.empty()) return invalid_argument("a chunk without pages");
  if (pages.size() > kMaxResidentBytes)
    return too_large("a chunk of " + std::to_string(pages.size()) + " bytes; at most 512 MiB are taken");
  // Writing and reading share one walk, which wants bytes that it may write.
  AlignedBuffer copy(pages.size());
  std::memcpy(copy.data(), pages.data(), pages.size());
  std::vector<std::byte> headers;
  std::vector<uint64_t> checksums;
  Recorder recorder;
  rest::Walk<Recorder> walk(recorder);
  PageView before;
  for (std::span<std::byte> left = copy.span(); !left.empty();) {
    RECALLD_ASSIGN_OR_RETURN(const PageView page, parse_page_prefix(left));
    append_header(headers, page, checksums.empty() ? nullptr : &before);
    checksums.push_back(page_checksum(page.bytes));
    const std::span<std::byte> bytes = left.first(page.bytes.size());
    walk.page(page.codec, page.meta, bytes);
    before = page;
    left = left.subspan(bytes.size());
  }
  Head head{
      kMagic, kVersion, 0, 0, pages.size(), static_cast<uint32_t>(checksums.size()), kCoded, checksum_of(checksums)};
  std::vector<std::byte> body;
  const auto header_bytes = static_cast<uint32_t>(headers.size());
  const auto length = std::as_bytes(std::span(&header_bytes, 1));
  body.insert(body.end(), length.begin(), length.end());
  body.insert(body.end(), headers.begin(), headers.end());
  recorder.finish(body);
  if (body.size() < pages.size() && decode_pages(head, body, copy.span()).ok() &&
      std::memcmp(copy.data(), pages.data(), pages.size()) == 0)
    return with_head(head, body);
  head.form = kVerbatim;
  return with_head(head, pages);
}

Result<RestInfo> inspect_rest(std::span<const std::byte> encoded) {
  RECALLD_ASSIGN_OR_RETURN(const Head head, read_head(encoded));
  return RestInfo{head.resident_bytes, static_cast<int>(head.n_pages), head.form == kCoded};
}

Status decode_rest(std::span<const std::byte> encoded, std::span<std::byte> pages) {
  RECALLD_ASSIGN_OR_RETURN(const Head head, read_head(encoded));
  if (pages.size() != head.resident_bytes)
    return invalid_argument("room for " + std::to_string(pages.size()) + " bytes where a chunk needs " +
                            std::to_string(head.resident_bytes));
  const std::span<const std::byte> body = encoded.subspan(sizeof head);
  if (head.form == kCoded) return decode_pages(head, body, pages);
  if (body.size() != pages.size()) return corrupt_rest("its pages have another size than it claims");
  if (!body.empty()) std::memcpy(pages.data(), body.data(), body.size());
  return ok_status();
}

}  // namespace recalld::quant
