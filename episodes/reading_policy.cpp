#include "episodes/reading_policy.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace recalld::episodes {
namespace {

constexpr std::array<std::pair<std::string_view, ReadingPolicy>, 4> kNames{{{"recent", ReadingPolicy::kRecent},
                                                                            {"whole", ReadingPolicy::kWhole},
                                                                            {"sinks", ReadingPolicy::kSinks},
                                                                            {"composed", ReadingPolicy::kComposed}}};

// Segments in the ranker's order, each whole or not at all, while there is room; then by time.
std::vector<int32_t> fitting_segments(std::span<const retrieval::PageGroup> groups, size_t recent,
                                      std::span<const int32_t> ranked, int64_t room) {
  std::vector<int32_t> chosen;
  for (const int32_t segment : ranked) {
    const auto [first, end] = retrieval::groups_of(groups, segment);
    int64_t tokens = 0;
    for (size_t i = first; i < std::min(end, recent); ++i)
      if (!groups[i].pinned) tokens += groups[i].n_tokens;
    if (tokens == 0 || tokens > room || std::ranges::find(chosen, segment) != chosen.end()) continue;
    room -= tokens;
    chosen.push_back(segment);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace

std::optional<ReadingPolicy> parse_reading_policy(std::string_view name) {
  for (const auto& [known, policy] : kNames)
    if (known == name) return policy;
  return std::nullopt;
}

std::string_view reading_policy_name(ReadingPolicy policy) {
  for (const auto& [name, known] : kNames)
    if (known == policy) return name;
  return "";
}

Result<std::vector<size_t>> groups_to_read_with(ReadingPolicy policy, std::span<const retrieval::PageGroup> groups,
                                                const BlockStart& block, const ReadingLimits& limits,
                                                const SegmentRanker& ranker) {
  if (policy == ReadingPolicy::kRecent) return retrieval::choose_recent(groups, limits.view);
  if (policy == ReadingPolicy::kWhole) return retrieval::choose_recent(groups, limits.whole);
  const std::vector<size_t> pinned = retrieval::choose_recent(groups, 0);
  if (policy == ReadingPolicy::kSinks) return pinned;
  if (ranker == nullptr) return failed_precondition("the reading policy \"composed\" needs a ranker of segments");
  int64_t room = limits.view - retrieval::tokens_of(groups, pinned);
  const size_t recent = retrieval::recent_from(groups, std::min(limits.recent, room));
  for (size_t i = recent; i < groups.size(); ++i) room -= groups[i].n_tokens;
  RECALLD_ASSIGN_OR_RETURN(const std::vector<int32_t> ranked, ranker(block));
  return retrieval::view_groups_for(groups, fitting_segments(groups, recent, ranked, room), recent);
}

}  // namespace recalld::episodes
