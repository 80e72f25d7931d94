#include "daemon/question_view.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "retrieval/fit_view.h"

namespace recalld::daemon {
namespace {

int64_t tokens_from(std::span<const retrieval::PageGroup> groups, size_t first) {
  return std::accumulate(groups.begin() + static_cast<ptrdiff_t>(first), groups.end(), int64_t{0},
                         [](int64_t sum, const retrieval::PageGroup& group) { return sum + group.n_tokens; });
}

// Where the newest groups begin that every question sees. The newest segment may still grow: nothing else shows it.
size_t newest_from(std::span<const retrieval::PageGroup> groups, int64_t recent_tokens) {
  const size_t newest = retrieval::groups_of(groups, groups.back().segment).first;
  return std::min(newest, retrieval::recent_from(groups, recent_tokens));
}

}  // namespace

Result<std::vector<size_t>> choose_view(SessionMemory& memory, const std::vector<retrieval::PageGroup>& groups,
                                        const AskedText& asked, const ViewLimits& limits, const Clock& clock,
                                        RecallReport* report) {
  const auto newest_alone = [&] {
    std::vector<size_t> chosen = retrieval::choose_recent(groups, limits.room);
    report->chosen_by = chosen.size() == groups.size() ? "all" : "recent";
    return chosen;
  };
  const int64_t total = tokens_from(groups, 0);
  const bool fits = total <= limits.recall_tokens + limits.recent_tokens && total <= limits.room;
  if (groups.empty() || limits.recall_tokens == 0 || fits) return newest_alone();

  const size_t recent = newest_from(groups, limits.recent_tokens);
  int64_t pinned = 0;
  for (size_t i = 0; i < groups.size() && groups[i].pinned; ++i) pinned += groups[i].n_tokens;
  report->recent_tokens = tokens_from(groups, recent);
  const int64_t most = std::min(limits.recall_tokens, limits.room - pinned - report->recent_tokens);
  if (most <= 0) return newest_alone();

  const int64_t started = clock.monotonic_ns();
  RECALLD_ASSIGN_OR_RETURN(const retrieval::Ranking ranking, memory.recall().rank(asked));
  RECALLD_ASSIGN_OR_RETURN(
      retrieval::FittedView fitted,
      retrieval::fit_view(ranking, memory.segments(), groups, recent, {.max_tokens = most, .order = limits.order}));
  memory.recall().describe(ranking, fitted.choice, memory.segments(), report);
  report->search_ms = static_cast<double>(clock.monotonic_ns() - started) / 1e6;
  report->chosen_by = "question";
  return std::move(fitted.groups);
}

}  // namespace recalld::daemon
