#include "bench/recall/locomo.h"

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "bench/recall/evidence.h"
#include "daemon/import.h"

namespace recalld::bench {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

std::string trimmed(std::string text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// "session_12": 12; -1 for any other key.
int session_number(std::string_view key) {
  constexpr std::string_view kPrefix = "session_";
  if (!key.starts_with(kPrefix) || key.size() == kPrefix.size() || key.size() > kPrefix.size() + 6) return -1;
  int number = 0;
  for (const char c : key.substr(kPrefix.size())) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

class Reader {
 public:
  Reader(const json::object& sample, bool captions) : sample_(sample), captions_(captions) {}

  Status read(Conversation* conversation) {
    const json::value* value = sample_.if_contains("conversation");
    const json::object* body = value != nullptr ? value->if_object() : nullptr;
    if (body == nullptr) return invalid_argument("no object \"conversation\"");
    RECALLD_RETURN_IF_ERROR(read_turns(*body, conversation));
    const json::value* qa = sample_.if_contains("qa");
    const json::array* questions = qa != nullptr ? qa->if_array() : nullptr;
    if (questions == nullptr) return invalid_argument("no list of questions \"qa\"");
    for (size_t i = 0; i < questions->size(); ++i)
      if (const json::object* question = (*questions)[i].if_object())
        read_question(*question, static_cast<int>(i), conversation);
    return ok_status();
  }

 private:
  Status read_turns(const json::object& body, Conversation* conversation) {
    const std::string first_speaker = text_of(body, "speaker_a");
    std::map<int, const json::array*> sessions;
    for (const auto& member : body)
      if (const int number = session_number(member.key()); number >= 0 && member.value().is_array())
        sessions.emplace(number, &member.value().get_array());
    for (const auto& [number, turns] : sessions) {
      const std::string date = text_of(body, "session_" + std::to_string(number) + "_date_time");
      std::optional<int64_t> time_ms;
      if (!date.empty()) {
        RECALLD_ASSIGN_OR_RETURN(time_ms, daemon::parse_locomo_time(date));
      }
      for (const json::value& value : *turns) {
        const json::object* turn = value.if_object();
        if (turn == nullptr) return invalid_argument("a turn of session " + std::to_string(number) + " is no object");
        for (const TurnId& id : parse_evidence(text_of(*turn, "dia_id")))
          turn_of_.emplace(id, static_cast<int>(conversation->turns.size()));
        const std::string speaker = text_of(*turn, "speaker");
        conversation->turns.push_back({.session = number,
                                       .date = date,
                                       .time_ms = time_ms,
                                       .role = speaker == first_speaker ? "user" : "assistant",
                                       .speaker = speaker,
                                       .text = words(*turn)});
      }
    }
    return conversation->turns.empty() ? invalid_argument("the conversation has no turns") : ok_status();
  }

  std::string words(const json::object& turn) const {
    std::string text = trimmed(text_of(turn, "text"));
    const std::string caption = captions_ ? text_of(turn, "blip_caption") : "";
    if (!caption.empty()) text += std::string(text.empty() ? "" : " ") + "[shares a photo: " + caption + "]";
    return text;
  }

  void read_question(const json::object& object, int index, Conversation* conversation) const {
    Question question{
        .index = index, .text = trimmed(text_of(object, "question")), .gold = trimmed(text_of(object, "answer"))};
    if (const json::value* category = object.if_contains("category"); category != nullptr && category->is_int64())
      question.category = static_cast<int>(category->get_int64());
    if (const json::value* list = object.if_contains("evidence"); list != nullptr && list->is_array())
      for (const json::value& item : list->get_array())
        if (item.is_string() && !resolve(item.get_string(), &question.evidence)) {
          question.evidence.clear();
          break;
        }
    std::sort(question.evidence.begin(), question.evidence.end());
    question.evidence.erase(std::unique(question.evidence.begin(), question.evidence.end()), question.evidence.end());
    conversation->questions.push_back(std::move(question));
  }

  // False when a turn is named that the conversation does not have.
  bool resolve(std::string_view reference, std::vector<int>* turns) const {
    for (const TurnId& id : parse_evidence(reference)) {
      const auto found = turn_of_.find(id);
      if (found == turn_of_.end()) return false;
      turns->push_back(found->second);
    }
    return true;
  }

  const json::object& sample_;
  bool captions_;
  std::map<TurnId, int> turn_of_;
};

}  // namespace

Result<std::vector<Conversation>> parse_conversations(std::string_view text, const std::string& name, bool captions) {
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error) return invalid_argument(name + " is not JSON: " + error.message());
  std::vector<const json::object*> samples;
  if (const json::array* list = root.if_array()) {
    for (const json::value& value : *list) samples.push_back(value.if_object());
  } else {
    samples.push_back(root.if_object());
  }
  std::vector<Conversation> conversations;
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::string place = samples.size() == 1 ? name : name + "[" + std::to_string(i) + "]";
    if (samples[i] == nullptr) return invalid_argument(place + " is no object");
    Conversation conversation{.id = text_of(*samples[i], "sample_id")};
    if (conversation.id.empty()) conversation.id = place;
    const Status status = Reader(*samples[i], captions).read(&conversation);
    if (!status.ok()) return status.with_context(place);
    conversations.push_back(std::move(conversation));
  }
  return conversations;
}

Result<std::vector<Conversation>> read_conversations(const std::string& folder, bool captions) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  if (error) return not_found("'" + folder + "': " + error.message());
  if (paths.empty()) return not_found("no *.json in '" + folder + "'; give a folder of LoCoMo conversations");
  std::sort(paths.begin(), paths.end());
  std::vector<Conversation> all;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    RECALLD_ASSIGN_OR_RETURN(auto some, parse_conversations(text, path.stem().string(), captions));
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace recalld::bench
