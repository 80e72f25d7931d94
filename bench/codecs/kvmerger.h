// KVMerger (arXiv 2407.08454, section 4): neighbouring tokens whose keys are alike are merged into one entry, head by
// head. kvmerger-50 and kvmerger-35 keep 50 and 35 % of a page's entries, rounded up: the paper's budgets.
//
// Merging sets (4.1): runs of tokens in which each key's cosine to the next one's is above a threshold; keys as they
// are in the cache, after rotation, as in the paper. Merging (4.2): w_i = g_i / sum_j g_j with g_i = exp(-|k_p - k_i|^2
// / (2 sigma^2)) around the pivot p of the set, for keys and values alike.
//
// A page's entries stay as many: every member of a set holds what they were merged to. Attention then counts it once
// for each member, as if it stood there once with log(members) added to its score. The paper holds the entry once and
// multiplies its value by the number of members.
//
// Differs from the paper:
// - The threshold is the one that leaves the budget's number of entries in each page and head; there it is fixed for
//   the model (0.75) and the budget follows from it.
// - The pivot is the token with the most attention there. A codec sees none: it is the one with the largest mean cosine
//   to the others of its set, of equals (all sets of two) the longest key.
// - sigma is the root mean square distance of the others to the pivot, for each set: it fits keys of any scale.
// - Tokens with the most attention are never merged there. Here only the first and the newest tokens are kept, by
//   whoever makes pages of those in 16 bits. All layers are merged alike.
//
// Counted: of every entry kept key and value as halves, and its number of members in a byte.
#pragma once

#include "bench/codecs/reference_codec.h"

namespace recalld::bench {

class KvMergerReference final : public ReferenceCodec {
 public:
  // percent: of the entries, 1..100.
  explicit KvMergerReference(int percent) : ReferenceCodec("kvmerger-" + std::to_string(percent)), percent_(percent) {}

  // Entries kept of n tokens.
  size_t kept(size_t n_tokens) const { return (n_tokens * static_cast<size_t>(percent_) + 99) / 100; }
  size_t counted_bytes(const quant::PageMeta& meta) const override;

 protected:
  Status approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const override;

 private:
  int percent_;
};

}  // namespace recalld::bench
