// A session's trunk: the one stream of KV entries that reading its transcript gives, block by block, in pages aligned
// with segments.
//
// What a token sees while it is read depends on its place in the stream and on the options, never on when it arrived.
// A block ends at the first segment end that is block_tokens or more after its beginning; what it sees of the past is
// fixed at its beginning by the reading policy. So a transcript read at once, turn by turn, or again after a loss gives
// the same entries (up to the rounding of matrix products, whose order of additions may depend on how many tokens are
// multiplied together). A block never has more than block_tokens - 1 + segments.max_tokens tokens.
//
// At a block's end all its rows become page groups, cut at pinned_tokens, at segment ends, before and after date lines,
// and every page_tokens inside a longer segment: any choice of segments, each with the date line that holds for it, is
// a list of whole pages, and each token is stored once. A date line that begins among the pinned tokens is pinned
// whole. Pinned groups stay in 16 bits. Others are coded by near_plan while they are young, since what is read next
// looks at them most and keeps their error for good, and by plan once they ended near_tokens ago or earlier.
//
// Blocks are read at compact positions after their view, so positions stay inside window_tokens and memory is bounded
// by view + recent + block for a history of any length, once pages that are saved can be loaded again (set_loader).
//
// Not thread-safe: one owner thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/sequence.h"
#include "episodes/reading_policy.h"
#include "episodes/segmenter.h"
#include "retrieval/compose.h"
#include "runtime/engine.h"

namespace recalld::episodes {

struct TrunkOptions {
  SegmenterOptions segments;
  ReadingPolicy reading = ReadingPolicy::kRecent;
  int32_t block_tokens = 128;    // 16 or more
  int32_t page_tokens = 256;     // most tokens of a page; 16..kMaxPageTokens
  int32_t recent_tokens = 128;   // newest tokens in a composed reading view
  int32_t pinned_tokens = 16;    // less than page_tokens; 0 for none
  int32_t view_tokens = 4096;    // of pages seen while reading; at least 2 blocks
  int32_t window_tokens = 8192;  // positions the model has: a view and the longest block fit
  cache::CodecPlan plan;
  int32_t near_tokens = 128;
  cache::CodecPlan near_plan;  // without layers: 16 bits. Of codecs that their tag alone describes (quant::codec_for)
  Digest128 fingerprint;       // of model, format, plan and these numbers: see trunk_fingerprint
};

// kInvalidArgument, naming the number and its range.
Status check_trunk_options(const TrunkOptions& options);

// The most tokens a block can have.
int32_t longest_block(const TrunkOptions& options);

// What pages of a trunk depend on besides the transcript.
Digest128 trunk_fingerprint(const Digest128& model, const std::string& format_version, const TrunkOptions& options);

class Trunk {
 public:
  Trunk(const cache::CacheShape& shape, const std::shared_ptr<cache::MemoryPool>& pool, TrunkOptions options);

  const TrunkOptions& options() const { return options_; }
  // Which earlier segments a block sees; asked once at each block's beginning by the composed policy. Set before
  // reading.
  void set_ranker(SegmentRanker ranker) { ranker_ = std::move(ranker); }

  // Announces the next turn and how many tokens it has. Only announced tokens can be read; a turn that must not be read
  // yet must not be announced.
  void push(const TurnText& turn, int32_t n_tokens, const DateLine& date = {}) {
    segmenter_.push(turn, n_tokens, date);
  }
  const Segmenter& segmenter() const { return segmenter_; }
  // Segments of the turns announced. Those within n_tokens() have been read.
  const std::vector<retrieval::Segment>& segments() const { return segmenter_.segments(); }

  int64_t n_tokens() const { return n_tokens_; }
  // Where the block of the next token ends, if the turns announced say so; more turns need not be announced before it
  // is read.
  std::optional<int64_t> block_end() const;
  // How many tokens the next read may have: up to the block's end or the last token announced. 0 when all are read.
  int32_t room() const;
  // Reads 1..room() tokens. On error the trunk is as before. kCancelled when *cancel became true.
  Status read(runtime::Engine& engine, std::span<const int32_t> tokens, const std::atomic<bool>* cancel = nullptr);

  // Page groups of [0, n_tokens - tail), in trunk order; a group on disk has a null chunk.
  const std::vector<retrieval::PageGroup>& groups() const { return groups_; }
  // The newest tokens, not in pages yet, as 16-bit page groups that continue groups(), cut in the same way. Copies.
  Result<std::vector<retrieval::PageGroup>> tail() const;

  // What changed since the last mark_saved: groups from `first_changed` on are new or coded anew, and loaded. view: the
  // groups that the tail's tokens see.
  struct Unsaved {
    size_t first_changed = 0;
    std::vector<retrieval::PageGroup> tail;
    std::vector<size_t> view;
  };
  Result<Unsaved> unsaved();
  // What no block in progress sees and can be loaded again leaves the memory.
  void mark_saved();
  bool has_unsaved() const { return unsaved_; }

  // Rebuilds the trunk from what was saved: groups in order (chunks may be null: see `load`), the tail's chunks, the
  // view. All turns that the tokens belong to must have been announced. kCorrupt when they do not continue each other
  // or do not follow the segments. The view's pages are loaded when reading goes on, not before: questions need others.
  Status restore(std::vector<retrieval::PageGroup> groups, const std::vector<cache::ChunkPtr>& tail,
                 std::vector<size_t> view);

  // Loads a group's chunk when it is first needed. Set before restore() with null chunks. Chunks, those of restore()
  // too, are of the trunk's shape (cache::check_chunk).
  using Loader = std::function<Result<cache::ChunkPtr>(size_t group)>;
  void set_loader(Loader loader) { loader_ = std::move(loader); }
  // The chunk of a group, loaded if need be; it stays in memory until the next mark_saved() or block.
  Result<cache::ChunkPtr> load(size_t group);

  // Bytes of pages and rows in memory.
  size_t bytes() const;

 private:
  struct Piece {
    int32_t n_tokens, segment;
    bool pinned, date;
  };

  std::optional<int64_t> end_of_block(int64_t start) const;
  // The group that begins at token `first`, all of [first, end) being known.
  Piece piece_at(int64_t first, int64_t end) const;
  // pinned_tokens, or where a date line ends that begins among them.
  int64_t pinned_end() const;
  bool block_is_over() const { return end_of_block(block_start_) == n_tokens_; }
  Status settle();
  bool is_near(int64_t end) const { return end > n_tokens_ - options_.near_tokens; }
  Status code_old_pages();
  Status begin_block();
  Status show(std::span<const size_t> chosen);
  void release();
  // Where a restored block was left: its view and rows go into the sequence.
  Status resume();

  const cache::CacheShape& shape_;
  std::shared_ptr<cache::MemoryPool> pool_;
  TrunkOptions options_;
  cache::Sequence sequence_;
  Segmenter segmenter_;
  SegmentRanker ranker_;
  Loader loader_;
  std::vector<retrieval::PageGroup> groups_;
  size_t first_near_ = 0;                          // groups before it are pinned or coded by the plan
  std::vector<size_t> view_;                       // what the block sees, once it has begun
  bool begun_ = false;                             // the sequence shows view_ and then the block's rows
  std::vector<retrieval::PageGroup> stored_tail_;  // the block's rows as restored, until resume()
  int64_t n_tokens_ = 0;
  int64_t block_start_ = 0;
  int64_t paged_tokens_ = 0;  // tokens in groups_
  size_t first_changed_ = 0;
  bool unsaved_ = false;
};

struct TurnTokens {
  TurnText turn;
  std::vector<int32_t> tokens;
  DateLine date = {};
};

// Announces and reads whole turns, as many in a step as a block takes. Whatever remains of the turn announced last must
// have been read before.
Status read_turns(Trunk& trunk, runtime::Engine& engine, std::span<const TurnTokens> turns);

}  // namespace recalld::episodes
