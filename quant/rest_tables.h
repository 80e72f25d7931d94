// The frequency tables of a chunk at rest: which there are, and how they stand in its bytes. A part of quant/rest.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "quant/rans.h"

namespace recalld::quant::rest {

enum Side : uint8_t { kKeys, kValues };

// Tables come in blocks of 16. A table's index is its block's times 16 plus its place in it.
inline constexpr int kBlockTables = 16;
inline constexpr int kCodeBlocks = 24;                        // side, band, bits; 16 contexts each
inline constexpr int kHalfBlocks = 8;                         // side; 64 contexts each
inline constexpr int kSideBlock = kCodeBlocks + kHalfBlocks;  // scales and offsets of both sides, key means
inline constexpr int kBlocks = kSideBlock + 1;

// Of codes of a band: the first of 16 tables, one for each context.
constexpr int code_tables(Side side, int band, int bits) { return ((side * 4 + band) * 3 + bits - 2) * kBlockTables; }
// Of the upper six bits of a half of a 16-bit side, after those of the token before.
constexpr int half_table(Side side, uint32_t before) {
  return (kCodeBlocks + side * 4) * kBlockTables + static_cast<int>(before);
}
constexpr int scale_table(Side side) { return kSideBlock * kBlockTables + side; }
constexpr int offset_table(Side side) { return kSideBlock * kBlockTables + 2 + side; }
constexpr int kMeanTable = kSideBlock * kBlockTables + 4;

// Tables that are not there code nothing: a stream that asks for one decodes to anything.
class TableSet {
 public:
  using Block = std::array<RansTable, kBlockTables>;

  TableSet();

  const RansTable& table(int index) const { return block(index)[static_cast<size_t>(index % kBlockTables)]; }
  // The 16 tables from `index` on.
  const RansTable* tables(int index) const { return block(index).data(); }

  // counts[index][symbol]; tables without counts are left out.
  using Counts = std::vector<std::array<uint32_t, kRansMaxSymbols>>;
  static TableSet of_counts(const Counts& counts);

  // As they stand in a chunk: blocks that are there (u64, a bit each); for each of them the tables that are there
  // (u16), and for each of these the number of its symbols (u8) and their frequencies, seven bits a byte, the lowest
  // first, the highest bit set in all but the last.
  void pack(std::vector<std::byte>& out) const;
  // Takes the tables from the beginning of `bytes`. kCorrupt names what is wrong.
  static Result<TableSet> parse(std::span<const std::byte>& bytes);

 private:
  const Block& block(int index) const;
  Block& make_block(int block);

  std::array<std::unique_ptr<Block>, kBlocks> blocks_;
  std::shared_ptr<const Block> none_;
};

}  // namespace recalld::quant::rest
