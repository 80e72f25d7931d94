#include "runtime/utf8_stream.h"

#include <algorithm>
#include <cstdint>

namespace recalld::runtime {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

struct Range {
  uint8_t low, high;
};

// Length of the character that a lead byte begins, 0 for a byte that begins none.
size_t character_length(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// What may follow the lead byte: no overlong forms, no surrogates, nothing past U+10FFFF (Unicode, table 3-7).
Range second_byte(uint8_t lead) {
  switch (lead) {
    case 0xE0:
      return {0xA0, 0xBF};
    case 0xED:
      return {0x80, 0x9F};
    case 0xF0:
      return {0x90, 0xBF};
    case 0xF4:
      return {0x80, 0x8F};
    default:
      return {0x80, 0xBF};
  }
}

// Bytes at the start of `text` that can belong to one character; its length is `expected` when it is whole.
size_t valid_prefix(std::string_view text, size_t expected) {
  size_t n = 1;
  for (; n < std::min(expected, text.size()); ++n) {
    const auto byte = static_cast<uint8_t>(text[n]);
    const Range range = n == 1 ? second_byte(static_cast<uint8_t>(text[0])) : Range{0x80, 0xBF};
    if (byte < range.low || byte > range.high) break;
  }
  return n;
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  const std::string_view text = pending_;
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    const std::string_view rest = text.substr(at);
    const size_t expected = character_length(static_cast<uint8_t>(rest[0]));
    const size_t valid = expected == 0 ? 1 : valid_prefix(rest, expected);
    if (expected != 0 && valid < expected && valid == rest.size()) break;
    if (valid == expected) {
      out.append(rest.substr(0, valid));
    } else {
      out += kReplacement;
    }
    at += valid;
  }
  pending_.erase(0, at);
  return out;
}

std::string Utf8Stream::finish() {
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return incomplete ? kReplacement : "";
}

}  // namespace recalld::runtime
