#include "app/recallctl/evidence.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/recallctl/draw.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

constexpr int kDateColumns = 16;
constexpr int kLongestSpeaker = 12;

std::string lower(std::string text) {
  for (char& byte : text)
    if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
  return text;
}

int64_t words_in(const json::object& turn, const json::array& words) {
  const std::string text = lower(string_of(turn, "content"));
  return std::count_if(words.begin(), words.end(), [&](const json::value& word) {
    return word.is_string() && text.find(lower(std::string(word.as_string()))) != std::string::npos;
  });
}

// The turn to show; null when the segment has none.
const json::object* best_turn(const Evidence& evidence) {
  const json::array& words = array_of(evidence.segment, "words");
  const json::object* best = nullptr;
  int64_t most = 0;
  for (const json::value& turn : evidence.turns) {
    if (!turn.is_object()) continue;
    const int64_t count = words_in(turn.as_object(), words);
    if (best != nullptr && count <= most) continue;
    best = &turn.as_object();
    most = count;
  }
  return best;
}

std::string speaker_of(const json::object& turn) {
  const std::string speaker = string_of(turn, "speaker");
  return speaker.empty() ? string_of(turn, "role") : speaker;
}

std::string episode_of(const Evidence& evidence) {
  const int64_t episode = int_of(evidence.segment, "episode", -1);
  return episode < 0 ? "-" : fmt::format("#{}", episode);
}

}  // namespace

Result<std::vector<Evidence>> fetch_evidence(const Api& api, const json::object& recall) {
  const std::string session = string_of(recall, "session");
  std::vector<Evidence> evidence;
  for (const json::value& value : array_of(recall, "segments")) {
    if (!value.is_object() || session.empty()) continue;
    Evidence found{value.as_object(), {}};
    RECALLD_ASSIGN_OR_RETURN(TurnPage page, api.turns(session, int_of(found.segment, "first_turn"),
                                                      std::max<int64_t>(int_of(found.segment, "turns"), 1)));
    found.turns = std::move(page.turns);
    evidence.push_back(std::move(found));
  }
  return evidence;
}

std::string evidence_text(const std::vector<Evidence>& evidence, const Look& look) {
  if (evidence.empty()) return "no segments were chosen for this answer\n";
  int speakers = 0, episodes = 0;
  for (const Evidence& found : evidence) {
    if (const json::object* turn = best_turn(found))
      speakers = std::max(speakers, std::min(display_columns(speaker_of(*turn)), kLongestSpeaker));
    episodes = std::max(episodes, display_columns(episode_of(found)));
  }
  const int room = std::max(look.columns - 1 - kDateColumns - speakers - episodes - 6, 8);
  std::string text;
  for (const Evidence& found : evidence) {
    const json::object* turn = best_turn(found);
    if (turn == nullptr) continue;
    const std::optional<int64_t> time = time_of(*turn, "time");
    const std::string line = cell(time ? time_text(*time) : "no date", kDateColumns, look) + "  " +
                             right_cell(episode_of(found), episodes) + "  " + cell(speaker_of(*turn), speakers, look) +
                             "  " + cell(string_of(*turn, "content"), room, look);
    text += without_trailing_spaces(line) + "\n";
  }
  return text;
}

json::array evidence_json(const std::vector<Evidence>& evidence) {
  json::array list;
  for (const Evidence& found : evidence)
    list.push_back(json::object{{"segment", found.segment}, {"turns", found.turns}});
  return list;
}

}  // namespace recalld::recallctl
