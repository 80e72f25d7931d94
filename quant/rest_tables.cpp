#include "quant/rest_tables.h"

#include <algorithm>
#include <cstring>

namespace recalld::quant::rest {
namespace {

bool is_there(const RansTable& table) { return table.n_symbols() > 0; }

Status ends_early() { return corrupt("chunk at rest: its tables end early"); }

template <class Number>
bool take(std::span<const std::byte>& bytes, Number* number) {
  if (bytes.size() < sizeof *number) return false;
  std::memcpy(number, bytes.data(), sizeof *number);
  bytes = bytes.subspan(sizeof *number);
  return true;
}

template <class Number>
void append(std::vector<std::byte>& out, Number number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

Result<RansTable> parse_table(std::span<const std::byte>& bytes) {
  uint8_t n = 0;
  if (!take(bytes, &n)) return ends_early();
  if (n == 0 || n > kRansMaxSymbols)
    return corrupt("chunk at rest: a table of " + std::to_string(n) + " symbols, expected 1..64");
  std::array<uint16_t, kRansMaxSymbols> frequencies{};
  for (size_t i = 0; i < n; ++i) {
    uint8_t low = 0, high = 0;
    if (!take(bytes, &low) || (low >= 0x80 && !take(bytes, &high))) return ends_early();
    frequencies[i] = static_cast<uint16_t>((low & 0x7F) | high << 7);
  }
  auto table = RansTable::of_frequencies(std::span(frequencies).first(n));
  if (!table.ok()) return table.status().with_context("chunk at rest");
  return table;
}

}  // namespace

TableSet::TableSet() : none_(std::make_shared<Block>()) {}

const TableSet::Block& TableSet::block(int index) const {
  const auto& found = blocks_[static_cast<size_t>(index / kBlockTables)];
  return found != nullptr ? *found : *none_;
}

TableSet::Block& TableSet::make_block(int block) {
  auto& made = blocks_[static_cast<size_t>(block)];
  if (made == nullptr) made = std::make_unique<Block>();
  return *made;
}

TableSet TableSet::of_counts(const Counts& counts) {
  TableSet set;
  for (size_t index = 0; index < counts.size(); ++index) {
    if (std::ranges::all_of(counts[index], [](uint32_t count) { return count == 0; })) continue;
    set.make_block(static_cast<int>(index) / kBlockTables)[index % kBlockTables] = RansTable::of_counts(counts[index]);
  }
  return set;
}

void TableSet::pack(std::vector<std::byte>& out) const {
  uint64_t blocks = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) blocks |= static_cast<uint64_t>(blocks_[i] != nullptr) << i;
  append(out, blocks);
  for (const auto& block : blocks_) {
    if (block == nullptr) continue;
    uint16_t tables = 0;
    for (size_t i = 0; i < block->size(); ++i)
      if (is_there((*block)[i])) tables = static_cast<uint16_t>(tables | 1U << i);
    append(out, tables);
    for (const RansTable& table : *block) {
      const size_t n = table.n_symbols();
      if (n > 0) append(out, static_cast<uint8_t>(n));
      for (size_t i = 0; i < n; ++i) {
        const uint16_t frequency = table.ranges[i].frequency;
        append(out, static_cast<uint8_t>(frequency < 0x80 ? frequency : 0x80 | (frequency & 0x7F)));
        if (frequency >= 0x80) append(out, static_cast<uint8_t>(frequency >> 7));
      }
    }
  }
}

Result<TableSet> TableSet::parse(std::span<const std::byte>& bytes) {
  TableSet set;
  uint64_t blocks = 0;
  if (!take(bytes, &blocks)) return ends_early();
  if (blocks >> kBlocks != 0) return corrupt("chunk at rest: tables of an unknown kind");
  for (int i = 0; i < kBlocks; ++i) {
    if ((blocks >> i & 1) == 0) continue;
    uint16_t tables = 0;
    if (!take(bytes, &tables)) return ends_early();
    Block& block = set.make_block(i);
    for (int place = 0; place < kBlockTables; ++place) {
      if ((tables >> place & 1) == 0) continue;
      RECALLD_ASSIGN_OR_RETURN(block[static_cast<size_t>(place)], parse_table(bytes));
    }
  }
  return set;
}

}  // namespace recalld::quant::rest
