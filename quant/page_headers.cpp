#include "quant/page_headers.h"

#include <cstring>
#include <string>

namespace recalld::quant {
namespace {

enum PageMark : uint8_t { kNextLayer = 0, kOwnHeader = 1 };

constexpr size_t kGiven = kPageHeaderBytes - kPageChecksumBytes;

bool is_next_layer(const PageView& page, const PageView& before) {
  PageMeta expected = before.meta;
  ++expected.layer;
  const PageMeta& meta = page.meta;
  return page.codec == before.codec && meta.layer == expected.layer && meta.n_kv_heads == expected.n_kv_heads &&
         meta.head_dim == expected.head_dim && meta.n_tokens == expected.n_tokens &&
         meta.rope_start == expected.rope_start && meta.token_start == expected.token_start &&
         meta.fingerprint == expected.fingerprint;
}

}  // namespace

void append_header(std::vector<std::byte>& headers, const PageView& page, const PageView* before) {
  if (before != nullptr && is_next_layer(page, *before)) return headers.push_back(std::byte{kNextLayer});
  headers.push_back(std::byte{kOwnHeader});
  const auto given = page.bytes.first(kGiven);
  headers.insert(headers.end(), given.begin(), given.end());
}

Result<PageView> next_page(std::span<const std::byte>& headers, const PageView* before, std::span<std::byte> out) {
  if (headers.empty()) return corrupt("its page headers end early");
  const auto mark = static_cast<uint8_t>(headers.front());
  headers = headers.subspan(1);
  if (mark == kNextLayer && before != nullptr) {
    PageView page{before->codec, before->meta, {}};
    ++page.meta.layer;
    const size_t size = page_bytes(page.codec, page.meta.n_kv_heads, page.meta.head_dim, page.meta.n_tokens);
    if (size > out.size()) return corrupt("its pages are larger than it claims");
    RECALLD_RETURN_IF_ERROR(check_page(page.codec, page.meta, size));
    page.bytes = out.first(size);
    return page;
  }
  if (mark != kOwnHeader) return corrupt("mark of a page is " + std::to_string(mark) + ", expected 0 or 1");
  if (headers.size() < kGiven) return corrupt("its page headers end early");
  if (out.size() < kPageHeaderBytes) return corrupt("its pages are larger than it claims");
  std::memcpy(out.data(), headers.data(), kGiven);
  headers = headers.subspan(kGiven);
  return parse_page_prefix(out);
}

}  // namespace recalld::quant
