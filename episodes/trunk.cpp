#include "episodes/trunk.h"

#include <algorithm>
#include <string>

namespace recalld::episodes {
namespace {

Status out_of_range(const std::string& name, int64_t value, const std::string& range) {
  return invalid_argument(name + " is " + std::to_string(value) + "; it must be " + range);
}

}  // namespace

int32_t longest_block(const TrunkOptions& options) { return options.block_tokens - 1 + options.segments.max_tokens; }

Status check_trunk_options(const TrunkOptions& options) {
  RECALLD_RETURN_IF_ERROR(check_segmenter_options(options.segments));
  if (options.page_tokens < 16 || options.page_tokens > kernels::kMaxPageTokens)
    return out_of_range("page_tokens", options.page_tokens, "16 to " + std::to_string(kernels::kMaxPageTokens));
  if (options.block_tokens < 16) return out_of_range("block_tokens", options.block_tokens, "16 or more");
  if (options.recent_tokens < 0) return out_of_range("recent_tokens", options.recent_tokens, "0 or more");
  if (options.near_tokens < 0) return out_of_range("near_tokens", options.near_tokens, "0 or more");
  if (options.pinned_tokens < 0 || options.pinned_tokens >= options.page_tokens)
    return out_of_range("pinned_tokens", options.pinned_tokens, "less than page_tokens");
  if (options.view_tokens < 2 * options.block_tokens)
    return out_of_range("view_tokens", options.view_tokens,
                        "at least two blocks (" + std::to_string(2 * options.block_tokens) + ")");
  if (options.view_tokens > options.window_tokens - longest_block(options))
    return out_of_range("view_tokens", options.view_tokens,
                        "at most " + std::to_string(options.window_tokens - longest_block(options)) +
                            ": the window less the longest block");
  return ok_status();
}

Digest128 trunk_fingerprint(const Digest128& model, const std::string& format_version, const TrunkOptions& options) {
  Digester digester;
  digester.add(std::string_view("trunk-2"));
  digester.add(model.hex());
  digester.add(format_version);
  digester.add(reading_policy_name(options.reading));
  for (const int32_t number :
       {options.block_tokens, options.page_tokens, options.recent_tokens, options.pinned_tokens, options.view_tokens,
        options.window_tokens, options.segments.turns, options.segments.max_tokens})
    digester.add(static_cast<uint64_t>(number));
  for (const auto& codec : options.plan.layers) digester.add(codec->digest().hex());
  if (!options.plan.archive.empty()) digester.add("archive 1 " + options.plan.archive);
  if (options.near_tokens != options.recent_tokens || !options.near_plan.layers.empty()) {
    digester.add(std::string_view("near"));
    digester.add(static_cast<uint64_t>(options.near_tokens));
    for (const auto& codec : options.near_plan.layers) digester.add(codec->digest().hex());
  }
  return digester.finish();
}

Trunk::Trunk(const cache::CacheShape& shape, const std::shared_ptr<cache::MemoryPool>& pool, TrunkOptions options)
    : shape_(shape), pool_(pool), options_(std::move(options)), sequence_(shape, pool), segmenter_(options_.segments) {
  sequence_.set_uniform(true);
}

std::optional<int64_t> Trunk::end_of_block(int64_t start) const {
  const auto& segments = segmenter_.segments();
  const auto closed_end = segments.begin() + static_cast<ptrdiff_t>(segmenter_.n_closed());
  const auto last =
      std::lower_bound(segments.begin(), closed_end, start + options_.block_tokens,
                       [](const retrieval::Segment& s, int64_t token) { return s.token_first + s.n_tokens < token; });
  if (last == closed_end) return std::nullopt;
  return last->token_first + last->n_tokens;
}

std::optional<int64_t> Trunk::block_end() const { return end_of_block(block_is_over() ? n_tokens_ : block_start_); }

int32_t Trunk::room() const {
  return static_cast<int32_t>(std::min<int64_t>(block_end().value_or(segmenter_.n_tokens()) - n_tokens_, INT32_MAX));
}

Status Trunk::read(runtime::Engine& engine, std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  if (tokens.empty() || tokens.size() > static_cast<size_t>(room()))
    return invalid_argument("a read of " + std::to_string(tokens.size()) + " tokens where 1 to " +
                            std::to_string(room()) + " fit");
  RECALLD_RETURN_IF_ERROR(resume());
  if (block_is_over()) RECALLD_RETURN_IF_ERROR(settle());
  if (!begun_) RECALLD_RETURN_IF_ERROR(begin_block());
  const runtime::StepRequest request{&sequence_, tokens, runtime::Outputs::kNone, nullptr};
  RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}, cancel));
  n_tokens_ += static_cast<int64_t>(tokens.size());
  unsaved_ = true;
  if (block_is_over()) return settle();
  return ok_status();
}

int64_t Trunk::pinned_end() const {
  int64_t end = options_.pinned_tokens;
  for (const auto& [first, n] : segmenter_.date_lines()) {
    if (first >= options_.pinned_tokens) break;
    end = std::max(end, first + n);
  }
  return end;
}

Trunk::Piece Trunk::piece_at(int64_t first, int64_t end) const {
  const size_t index = segmenter_.segment_at(first);
  const retrieval::Segment& segment = segmenter_.segments()[index];
  const int64_t pinned_end = this->pinned_end();
  const bool pinned = first < pinned_end;
  const int64_t page = options_.page_tokens;
  int64_t cut = segment.token_first + ((first - segment.token_first) / page + 1) * page;
  cut = std::min({cut, segment.token_first + segment.n_tokens, end});
  if (pinned) cut = std::min(cut, pinned_end);
  const auto& dates = segmenter_.date_lines();
  const auto date = std::lower_bound(dates.begin(), dates.end(), first,
                                     [](const auto& line, int64_t token) { return line.first + line.second <= token; });
  const bool in_date = !pinned && date != dates.end() && date->first <= first;
  if (!pinned && date != dates.end()) cut = std::min(cut, in_date ? date->first + date->second : date->first);
  return {static_cast<int32_t>(cut - first), static_cast<int32_t>(index), pinned, in_date};
}

Status Trunk::settle() {
  RECALLD_RETURN_IF_ERROR(resume());
  const cache::CodecPlan plain = cache::plain_plan(shape_.layers.size());
  const cache::CodecPlan& near = options_.near_plan.layers.empty() ? plain : options_.near_plan;
  while (paged_tokens_ < n_tokens_) {
    const Piece piece = piece_at(paged_tokens_, n_tokens_);
    const cache::CodecPlan& plan = piece.pinned                              ? plain
                                   : is_near(paged_tokens_ + piece.n_tokens) ? near
                                                                             : options_.plan;
    RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk,
                             sequence_.freeze(piece.n_tokens, plan, paged_tokens_, options_.fingerprint));
    groups_.push_back({paged_tokens_, piece.n_tokens, piece.pinned, std::move(chunk), piece.segment, piece.date});
    paged_tokens_ += piece.n_tokens;
  }
  // The view goes first: it holds pages that coding replaces.
  RECALLD_RETURN_IF_ERROR(show({}));
  RECALLD_RETURN_IF_ERROR(code_old_pages());
  block_start_ = n_tokens_;
  begun_ = false;
  return ok_status();
}

Status Trunk::code_old_pages() {
  for (; first_near_ < groups_.size(); ++first_near_) {
    retrieval::PageGroup& group = groups_[first_near_];
    if (group.pinned) continue;
    if (is_near(group.token_start + group.n_tokens)) break;
    // The block's own groups became what they are to be.
    if (group.token_start >= block_start_) continue;
    RECALLD_ASSIGN_OR_RETURN(const cache::ChunkPtr near, load(first_near_));
    RECALLD_ASSIGN_OR_RETURN(group.chunk, cache::recode_chunk(shape_, *near, options_.plan, *pool_));
    first_changed_ = std::min(first_changed_, first_near_);
  }
  return ok_status();
}

Status Trunk::begin_block() {
  const BlockStart block{block_start_, groups_.empty() ? 0 : groups_.back().segment + 1};
  const ReadingLimits limits{options_.view_tokens, options_.window_tokens - longest_block(options_),
                             options_.recent_tokens};
  RECALLD_ASSIGN_OR_RETURN(view_, groups_to_read_with(options_.reading, groups_, block, limits, ranker_));
  release();
  RECALLD_RETURN_IF_ERROR(show(view_));
  begun_ = true;
  return ok_status();
}

Status Trunk::show(std::span<const size_t> chosen) {
  for (const size_t group : chosen) RECALLD_RETURN_IF_ERROR(load(group).status());
  return sequence_.set_view(retrieval::compose(groups_, chosen, shape_.layers.size()));
}

void Trunk::release() {
  if (loader_ == nullptr) return;
  std::vector<bool> seen(groups_.size(), false);
  for (const size_t group : view_) seen[group] = true;
  for (size_t i = 0; i < std::min(first_near_, first_changed_); ++i)
    if (!seen[i] && !groups_[i].pinned) groups_[i].chunk.reset();
}

Result<std::vector<retrieval::PageGroup>> Trunk::tail() const {
  if (!stored_tail_.empty()) return stored_tail_;
  std::vector<retrieval::PageGroup> groups;
  const cache::CodecPlan plain = cache::plain_plan(shape_.layers.size());
  for (int64_t first = paged_tokens_; first < n_tokens_;) {
    const Piece piece = piece_at(first, n_tokens_);
    RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk,
                             sequence_.export_rows(sequence_.length() - static_cast<int32_t>(n_tokens_ - first),
                                                   piece.n_tokens, first, options_.fingerprint));
    groups.push_back({first, piece.n_tokens, piece.pinned, std::move(chunk), piece.segment, piece.date});
    first += piece.n_tokens;
  }
  return groups;
}

Result<Trunk::Unsaved> Trunk::unsaved() {
  // Pages that a lack of memory left undone: what is saved is a whole number of blocks and a tail.
  if (block_is_over()) RECALLD_RETURN_IF_ERROR(settle());
  for (size_t i = first_changed_; i < groups_.size(); ++i) RECALLD_RETURN_IF_ERROR(load(i).status());
  RECALLD_ASSIGN_OR_RETURN(std::vector<retrieval::PageGroup> rows, tail());
  return Unsaved{first_changed_, std::move(rows), n_tokens_ > block_start_ ? view_ : std::vector<size_t>()};
}

void Trunk::mark_saved() {
  first_changed_ = groups_.size();
  unsaved_ = false;
  release();
}

Status Trunk::restore(std::vector<retrieval::PageGroup> groups, const std::vector<cache::ChunkPtr>& tail,
                      std::vector<size_t> view) {
  int64_t tokens = 0;
  for (const retrieval::PageGroup& group : groups) {
    if (group.token_start != tokens || group.n_tokens <= 0) return corrupt("stored pages do not continue each other");
    tokens += group.n_tokens;
  }
  if (tokens > segmenter_.n_tokens()) return corrupt("stored pages hold more tokens than the transcript has");
  for (retrieval::PageGroup& group : groups) {
    const Piece piece = piece_at(group.token_start, tokens);
    if (piece.n_tokens != group.n_tokens) return corrupt("stored pages do not follow the segments of the transcript");
    group.pinned = piece.pinned;
    group.segment = piece.segment;
    group.date = piece.date;
  }
  for (const size_t group : view)
    if (group >= groups.size()) return corrupt("a stored view names a page that is not there");
  groups_ = std::move(groups);
  view_ = std::move(view);
  block_start_ = paged_tokens_ = n_tokens_ = tokens;
  // Pages are made at block ends only: what the last one coded follows from where it was.
  for (first_near_ = 0; first_near_ < groups_.size(); ++first_near_) {
    const retrieval::PageGroup& group = groups_[first_near_];
    if (!group.pinned && is_near(group.token_start + group.n_tokens)) break;
  }
  first_changed_ = groups_.size();
  unsaved_ = false;
  begun_ = false;
  for (const cache::ChunkPtr& chunk : tail) {
    if (chunk->token_start() != n_tokens_) return corrupt("stored rows do not continue the pages");
    n_tokens_ += chunk->n_tokens();
  }
  if (n_tokens_ > segmenter_.n_tokens()) return corrupt("stored rows hold more tokens than the transcript has");
  for (const cache::ChunkPtr& chunk : tail) {
    const Piece piece = piece_at(chunk->token_start(), n_tokens_);
    if (piece.n_tokens != chunk->n_tokens()) return corrupt("stored rows do not follow the segments of the transcript");
    stored_tail_.push_back({chunk->token_start(), piece.n_tokens, piece.pinned, chunk, piece.segment, piece.date});
  }
  return ok_status();
}

Status Trunk::resume() {
  if (stored_tail_.empty()) return ok_status();
  RECALLD_RETURN_IF_ERROR(show(view_));
  for (const retrieval::PageGroup& rows : stored_tail_) RECALLD_RETURN_IF_ERROR(sequence_.import_rows(*rows.chunk));
  stored_tail_.clear();
  begun_ = true;
  return ok_status();
}

Result<cache::ChunkPtr> Trunk::load(size_t group) {
  if (groups_[group].chunk != nullptr) return groups_[group].chunk;
  if (loader_ == nullptr) return internal_error("a page is not in memory and there is nowhere to load it from");
  RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk, loader_(group));
  if (chunk->token_start() != groups_[group].token_start || chunk->n_tokens() != groups_[group].n_tokens)
    return corrupt("a stored page holds other tokens than its row says");
  groups_[group].chunk = chunk;
  return chunk;
}

size_t Trunk::bytes() const {
  size_t sum = sequence_.working_bytes();
  for (const retrieval::PageGroup& group : groups_)
    if (group.chunk != nullptr) sum += group.chunk->buffer->size();
  for (const retrieval::PageGroup& rows : stored_tail_) sum += rows.chunk->buffer->size();
  return sum;
}

Status read_turns(Trunk& trunk, runtime::Engine& engine, std::span<const TurnTokens> turns) {
  std::vector<int32_t> waiting;
  size_t next = 0;
  while (next < turns.size() || !waiting.empty()) {
    for (; next < turns.size() && !trunk.block_end().has_value(); ++next) {
      trunk.push(turns[next].turn, static_cast<int32_t>(turns[next].tokens.size()), turns[next].date);
      waiting.insert(waiting.end(), turns[next].tokens.begin(), turns[next].tokens.end());
    }
    const auto count = std::min(waiting.size(), static_cast<size_t>(trunk.room()));
    if (count == 0) continue;
    RECALLD_RETURN_IF_ERROR(trunk.read(engine, std::span(waiting).first(count)));
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<ptrdiff_t>(count));
  }
  return ok_status();
}

}  // namespace recalld::episodes
