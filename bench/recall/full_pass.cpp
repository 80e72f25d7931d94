#include "bench/recall/full_pass.h"

#include <algorithm>

#include "base/clock.h"
#include "quant/codec.h"

namespace recalld::bench {
namespace {

constexpr int64_t kBlock = 512;

// Ends of date lines and turns, ascending, no two further apart than a page.
std::vector<int64_t> borders(const History& history) {
  std::vector<int64_t> ends{history.start.end()};
  for (const TurnTokens& place : history.places) {
    if (place.header.n > 0) ends.push_back(place.header.end());
    ends.push_back(place.words.end());
  }
  std::vector<int64_t> pages;
  int64_t at = 0;
  for (const int64_t end : ends) {
    while (end - at > kernels::kMaxPageTokens) pages.push_back(at += kernels::kMaxPageTokens);
    if (end > at) pages.push_back(at = end);
  }
  return pages;
}

}  // namespace

Status check_fits_window(const History& history, const runtime::Engine& engine) {
  size_t longest = 0;
  for (const Asked& asked : history.questions) longest = std::max(longest, asked.prompt.size() + asked.gold.size());
  const size_t needed = history.tokens.size() + longest;
  if (needed <= static_cast<size_t>(engine.context())) return ok_status();
  return too_large("history and question need " + std::to_string(needed) + " positions, the window has " +
                   std::to_string(engine.context()));
}

Result<FullPass> FullPass::read(const History& history, runtime::Engine& engine,
                                const std::shared_ptr<cache::MemoryPool>& pool) {
  RECALLD_RETURN_IF_ERROR(check_fits_window(history, engine));
  const SystemClock clock;
  const int64_t started = clock.monotonic_ns();
  const cache::CacheShape& shape = engine.model().cache_shape();
  RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_codec("none16"));
  const cache::CodecPlan plan{std::vector(shape.layers.size(), codec)};
  const Digest128 fingerprint = engine.model().fingerprint();
  cache::Sequence sequence(shape, pool);
  FullPass pass;
  pass.n_layers_ = shape.layers.size();
  const auto n_tokens = static_cast<int64_t>(history.tokens.size());
  const std::vector<int64_t> ends = borders(history);
  size_t next = 0;
  for (int64_t at = 0, paged = 0; at < n_tokens;) {
    const int64_t n = std::min(kBlock, n_tokens - at);
    const std::span<const int32_t> tokens(history.tokens.data() + at, static_cast<size_t>(n));
    const runtime::StepRequest request{&sequence, tokens, runtime::Outputs::kNone, nullptr};
    RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}));
    at += n;
    for (; next < ends.size() && ends[next] <= at; ++next) {
      const auto count = static_cast<int32_t>(ends[next] - paged);
      RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk, sequence.freeze(count, plan, paged, fingerprint));
      pass.groups_.push_back({paged, count, paged < history.start.end(), std::move(chunk)});
      paged = ends[next];
    }
  }
  pass.seconds_ = static_cast<double>(clock.monotonic_ns() - started) / 1e9;
  return pass;
}

std::vector<size_t> FullPass::choose(std::span<const TokenRange> ranges, int64_t recent) const {
  std::vector<size_t> chosen;
  const int64_t end = groups_.empty() ? 0 : groups_.back().token_start + groups_.back().n_tokens;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const retrieval::PageGroup& group = groups_[i];
    const bool inside = std::any_of(ranges.begin(), ranges.end(), [&](const TokenRange& range) {
      return group.token_start >= range.first && group.token_start + group.n_tokens <= range.end();
    });
    if (inside || group.pinned || group.token_start >= end - recent) chosen.push_back(i);
  }
  return chosen;
}

int64_t FullPass::count(std::span<const size_t> chosen) const {
  int64_t tokens = 0;
  for (const size_t i : chosen) tokens += groups_[i].n_tokens;
  return tokens;
}

cache::View FullPass::compose(std::span<const size_t> chosen) const {
  return retrieval::compose(groups_, chosen, n_layers_);
}

size_t FullPass::bytes() const {
  size_t sum = 0;
  for (const retrieval::PageGroup& group : groups_) sum += group.chunk->buffer->size();
  return sum;
}

}  // namespace recalld::bench
