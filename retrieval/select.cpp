#include "retrieval/select.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace recalld::retrieval {
namespace {

constexpr std::array<std::pair<std::string_view, ViewOrder>, 3> kOrders = {
    {{"by_time", ViewOrder::kByTime}, {"best_last", ViewOrder::kBestLast}, {"best_first", ViewOrder::kBestFirst}}};

// Segments without an episode are told apart by their index.
std::pair<bool, int64_t> episode_key(const RankedSegment& segment) {
  return segment.episode ? std::pair(true, *segment.episode) : std::pair(false, static_cast<int64_t>(segment.segment));
}

}  // namespace

std::optional<ViewOrder> parse_view_order(std::string_view name) {
  for (const auto& [known, order] : kOrders)
    if (known == name) return order;
  return std::nullopt;
}

std::string_view view_order_name(ViewOrder order) {
  for (const auto& [name, known] : kOrders)
    if (known == order) return name;
  return "";
}

Result<Choice> select(const Ranking& ranking, std::span<const Segment> segments, const SelectOptions& options,
                      std::span<const size_t> taken) {
  Choice choice;
  const std::set<size_t> skipped(taken.begin(), taken.end());
  std::map<std::pair<bool, int64_t>, double> episode_best;
  for (const RankedSegment& ranked : ranking.segments) {
    if (ranked.segment >= segments.size())
      return invalid_argument("the ranking speaks of segment " + std::to_string(ranked.segment) + " of " +
                              std::to_string(segments.size()) + "; rank the segments that are chosen from");
    episode_best.try_emplace(episode_key(ranked), ranked.score);
  }
  const double best = ranking.segments.empty() ? 0 : ranking.segments.front().score;
  std::set<std::pair<bool, int64_t>> episodes;
  for (const RankedSegment& ranked : ranking.segments) {
    if (skipped.contains(ranked.segment)) continue;
    if (options.min_score && ranked.score < *options.min_score) break;
    if (options.max_below_best && best - ranked.score > *options.max_below_best) break;
    if (options.episode_margin && best - episode_best.at(episode_key(ranked)) > *options.episode_margin) continue;
    const int64_t n_tokens = std::max(0, segments[ranked.segment].n_tokens);
    if (n_tokens > options.max_tokens - choice.n_tokens) {
      ++choice.n_left_out;
      continue;
    }
    choice.n_tokens += n_tokens;
    choice.segments.push_back(ranked);
    episodes.insert(episode_key(ranked));
  }
  choice.n_episodes = episodes.size();
  if (options.order == ViewOrder::kByTime)
    std::sort(choice.segments.begin(), choice.segments.end(),
              [](const RankedSegment& a, const RankedSegment& b) { return a.segment < b.segment; });
  else if (options.order == ViewOrder::kBestLast)
    std::reverse(choice.segments.begin(), choice.segments.end());
  return choice;
}

}  // namespace recalld::retrieval
