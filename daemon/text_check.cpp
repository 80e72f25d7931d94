#include <cstdint>

#include "daemon/service.h"

namespace recalld::daemon {
namespace {

// Bytes of the well-formed UTF-8 sequence at the start of text (Unicode 15, table 3-7), or 0.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint8_t low = first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

Status check_text(std::string_view text, std::string_view what) {
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\0')
      return invalid_argument(std::string(what) + " holds a NUL character at byte " + std::to_string(at) +
                              "; remove it");
    const size_t length = sequence_length(text.substr(at, 4));
    if (length == 0)
      return invalid_argument(std::string(what) + " is not valid UTF-8 at byte " + std::to_string(at) + "; send UTF-8");
    at += length;
  }
  return ok_status();
}

}  // namespace recalld::daemon
