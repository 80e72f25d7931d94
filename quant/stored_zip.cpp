#include "quant/stored_zip.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace recalld::quant {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kLongestComment = 65535;

Status wrong(const std::string& what) { return corrupt("archive: " + what); }

template <class Number>
Number at(std::span<const std::byte> bytes, size_t offset) {
  Number number;
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

uint32_t crc32(std::span<const std::byte> bytes) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xEDB88320U : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~0U;
  for (const std::byte byte : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

// Where the record of the archive's end begins; it stands last but for a comment. archive.size() when there is none.
size_t find_end(std::span<const std::byte> archive) {
  if (archive.size() < kEndBytes) return archive.size();
  const size_t last = archive.size() - kEndBytes;
  for (size_t back = 0; back <= std::min(last, kLongestComment); ++back)
    if (at<uint32_t>(archive, last - back) == kEnd) return last - back;
  return archive.size();
}

// The bytes of the member that the record of the directory at `central` is about.
Result<std::span<const std::byte>> member(std::span<const std::byte> archive, std::span<const std::byte> central,
                                          const std::string& name) {
  if (at<uint16_t>(central, 10) != 0) return unsupported("archive: its member " + name + " is compressed");
  const auto size = at<uint32_t>(central, 24), local = at<uint32_t>(central, 42);
  if (archive.size() < kLocalBytes || local > archive.size() - kLocalBytes || at<uint32_t>(archive, local) != kLocal)
    return wrong("its member " + name + " is not where it says");
  // The lengths of name and extra field are the local record's own.
  const size_t begin = size_t{local} + kLocalBytes + at<uint16_t>(archive, size_t{local} + 26) +
                       at<uint16_t>(archive, size_t{local} + 28);
  if (begin > archive.size() || size > archive.size() - begin) return wrong("its member " + name + " is cut");
  const std::span<const std::byte> bytes = archive.subspan(begin, size);
  if (crc32(bytes) != at<uint32_t>(central, 16)) return wrong("its member " + name + " does not match its CRC-32");
  return bytes;
}

}  // namespace

Result<std::map<std::string, std::span<const std::byte>>> stored_members(std::span<const std::byte> archive) {
  const size_t end = find_end(archive);
  if (end == archive.size()) return wrong("not a ZIP archive, or cut");
  const auto count = at<uint16_t>(archive, end + 10);
  size_t offset = at<uint32_t>(archive, end + 16);
  std::map<std::string, std::span<const std::byte>> members;
  for (int i = 0; i < count; ++i) {
    if (offset > end || end - offset < kCentralBytes || at<uint32_t>(archive, offset) != kCentral)
      return wrong("its directory is cut");
    const std::span<const std::byte> central = archive.subspan(offset, end - offset);
    const size_t name_bytes = at<uint16_t>(central, 28);
    const size_t whole = kCentralBytes + name_bytes + at<uint16_t>(central, 30) + at<uint16_t>(central, 32);
    if (whole > central.size()) return wrong("its directory is cut");
    const std::string name(reinterpret_cast<const char*>(central.data() + kCentralBytes), name_bytes);
    RECALLD_ASSIGN_OR_RETURN(members[name], member(archive, central, name));
    offset += whole;
  }
  return members;
}

}  // namespace recalld::quant
