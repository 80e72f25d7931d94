#include "episodes/trunk.h"

#include <algorithm>
#include <string>

namespace recalld::episodes {
namespace {

Result<cache::CodecPlan> plain_plan(size_t n_layers) {
  RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_codec("none16"));
  return cache::CodecPlan{std::vector(n_layers, codec)};
}

Status out_of_range(const std::string& name, int64_t value, const std::string& range) {
  return invalid_argument(name + " is " + std::to_string(value) + "; it must be " + range);
}

}  // namespace

Status check_trunk_options(const TrunkOptions& options) {
  if (options.page_tokens < 16 || options.page_tokens > kernels::kMaxPageTokens)
    return out_of_range("page_tokens", options.page_tokens, "16 to " + std::to_string(kernels::kMaxPageTokens));
  if (options.block_tokens < options.page_tokens || options.block_tokens % options.page_tokens != 0)
    return out_of_range("block_tokens", options.block_tokens,
                        "a multiple of page_tokens (" + std::to_string(options.page_tokens) + ")");
  if (options.recent_tokens < 0) return out_of_range("recent_tokens", options.recent_tokens, "0 or more");
  if (options.pinned_tokens < 0 || options.pinned_tokens >= options.page_tokens)
    return out_of_range("pinned_tokens", options.pinned_tokens, "less than page_tokens");
  if (options.view_tokens < 2 * options.block_tokens)
    return out_of_range("view_tokens", options.view_tokens,
                        "at least two blocks (" + std::to_string(2 * options.block_tokens) + ")");
  return ok_status();
}

Digest128 trunk_fingerprint(const Digest128& model, const std::string& format_version, const TrunkOptions& options) {
  Digester digester;
  digester.add(std::string_view("trunk-1"));
  digester.add(model.hex());
  digester.add(format_version);
  for (const int32_t number :
       {options.block_tokens, options.page_tokens, options.recent_tokens, options.pinned_tokens, options.view_tokens})
    digester.add(static_cast<uint64_t>(number));
  for (const auto& codec : options.plan.layers) digester.add(codec->digest().hex());
  return digester.finish();
}

Trunk::Trunk(const cache::CacheShape& shape, const std::shared_ptr<cache::MemoryPool>& pool, TrunkOptions options)
    : shape_(shape), pool_(pool), options_(std::move(options)), sequence_(shape, pool) {
  sequence_.set_uniform(true);
}

int32_t Trunk::room() const { return options_.block_tokens - static_cast<int32_t>(n_tokens_ % options_.block_tokens); }

Status Trunk::read(runtime::Engine& engine, std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  if (tokens.empty() || tokens.size() > static_cast<size_t>(room()))
    return invalid_argument("a read of " + std::to_string(tokens.size()) + " tokens where 1 to " +
                            std::to_string(room()) + " fit");
  if (n_tokens_ % options_.block_tokens == 0) {
    RECALLD_RETURN_IF_ERROR(settle());
    RECALLD_RETURN_IF_ERROR(show_pages());
  }
  const runtime::StepRequest request{&sequence_, tokens, runtime::Outputs::kNone, nullptr};
  RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}, cancel));
  n_tokens_ += static_cast<int64_t>(tokens.size());
  unsaved_ = true;
  if (n_tokens_ % options_.block_tokens == 0) return settle();
  return ok_status();
}

Status Trunk::settle() {
  if (paged_tokens_ == n_tokens_) return ok_status();
  RECALLD_ASSIGN_OR_RETURN(const cache::CodecPlan plain, plain_plan(shape_.layers.size()));
  while (paged_tokens_ < n_tokens_) {
    const bool pinned = paged_tokens_ < options_.pinned_tokens;
    const int64_t end =
        pinned ? options_.pinned_tokens : (paged_tokens_ / options_.page_tokens + 1) * options_.page_tokens;
    const auto count = static_cast<int32_t>(std::min(end, n_tokens_) - paged_tokens_);
    RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk,
                             sequence_.freeze(count, plain, paged_tokens_, options_.fingerprint));
    groups_.push_back({paged_tokens_, count, pinned, std::move(chunk)});
    coded_.push_back(false);
    paged_tokens_ += count;
    view_stale_ = true;
  }
  for (size_t i = 0; i < groups_.size(); ++i) {
    retrieval::PageGroup& group = groups_[i];
    if (coded_[i] || group.pinned || group.token_start + group.n_tokens > n_tokens_ - options_.recent_tokens) continue;
    RECALLD_ASSIGN_OR_RETURN(const cache::ChunkPtr plain_chunk, load(i));
    RECALLD_ASSIGN_OR_RETURN(group.chunk, cache::recode_chunk(shape_, *plain_chunk, options_.plan, *pool_));
    coded_[i] = true;
    first_changed_ = std::min(first_changed_, i);
    view_stale_ = true;
  }
  return ok_status();
}

Status Trunk::show_pages() {
  if (!view_stale_) return ok_status();
  const std::vector<size_t> chosen = retrieval::choose_recent(groups_, options_.view_tokens);
  for (const size_t group : chosen) {
    RECALLD_ASSIGN_OR_RETURN(groups_[group].chunk, load(group));
  }
  RECALLD_RETURN_IF_ERROR(sequence_.set_view(retrieval::compose(groups_, chosen, shape_.layers.size())));
  view_stale_ = false;
  return ok_status();
}

Result<std::vector<retrieval::PageGroup>> Trunk::tail() const {
  std::vector<retrieval::PageGroup> groups;
  const auto count = static_cast<int32_t>(n_tokens_ - paged_tokens_);
  RECALLD_ASSIGN_OR_RETURN(std::vector<cache::ChunkPtr> chunks,
                           sequence_.export_rows(count, paged_tokens_, options_.fingerprint));
  groups.reserve(chunks.size());
  for (cache::ChunkPtr& chunk : chunks) groups.push_back({chunk->token_start(), chunk->n_tokens(), false, chunk});
  return groups;
}

Result<Trunk::Unsaved> Trunk::unsaved() const {
  RECALLD_ASSIGN_OR_RETURN(std::vector<retrieval::PageGroup> rows, tail());
  return Unsaved{first_changed_, std::move(rows)};
}

void Trunk::mark_saved() {
  first_changed_ = groups_.size();
  unsaved_ = false;
  if (loader_ == nullptr) return;
  // What no block will see again need not stay in memory.
  const std::vector<size_t> chosen = retrieval::choose_recent(groups_, options_.view_tokens);
  for (size_t i = 0; i < groups_.size(); ++i)
    if (coded_[i] && !std::binary_search(chosen.begin(), chosen.end(), i)) groups_[i].chunk.reset();
}

Status Trunk::restore(std::vector<retrieval::PageGroup> groups, const std::vector<cache::ChunkPtr>& tail) {
  int64_t tokens = 0;
  for (const retrieval::PageGroup& group : groups) {
    if (group.token_start != tokens || group.n_tokens <= 0) return corrupt("stored pages do not continue each other");
    tokens += group.n_tokens;
  }
  groups_ = std::move(groups);
  paged_tokens_ = n_tokens_ = tokens;
  coded_.assign(groups_.size(), false);
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].pinned = groups_[i].token_start < options_.pinned_tokens;
    // Pages are made at block boundaries only: what the last one coded follows from where it was.
    coded_[i] = !groups_[i].pinned && groups_[i].token_start + groups_[i].n_tokens <= tokens - options_.recent_tokens;
  }
  first_changed_ = groups_.size();
  unsaved_ = false;
  view_stale_ = true;
  RECALLD_RETURN_IF_ERROR(show_pages());
  for (const cache::ChunkPtr& chunk : tail) {
    if (chunk->token_start() != n_tokens_) return corrupt("the stored newest rows do not continue the pages");
    RECALLD_RETURN_IF_ERROR(sequence_.import_rows(*chunk));
    n_tokens_ += chunk->n_tokens();
  }
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
  return sum;
}

}  // namespace recalld::episodes
