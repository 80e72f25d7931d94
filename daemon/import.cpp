#include "daemon/import.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/json_text.h"
#include "daemon/message_json.h"

namespace recalld::daemon {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"january",   "february", "march",    "april",
                                                      "may",       "june",     "july",     "august",
                                                      "september", "october",  "november", "december"};

bool blank(std::string_view line) {
  return std::all_of(line.begin(), line.end(), [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
}

std::string two_digits(int number) { return (number < 10 ? "0" : "") + std::to_string(number); }

// Reads "1:56 pm on 8 May, 2023" from left to right.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : text_(text) {}

  // -1 when there is none.
  int number(size_t max_digits) {
    skip_spaces();
    size_t length = 0;
    while (length < text_.size() && std::isdigit(static_cast<unsigned char>(text_[length])) != 0) ++length;
    if (length == 0 || length > max_digits) return -1;
    int value = 0;
    std::from_chars(text_.data(), text_.data() + length, value);
    text_.remove_prefix(length);
    return value;
  }

  bool symbol(char wanted) {
    skip_spaces();
    if (text_.empty() || text_[0] != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }

  std::string word() {
    skip_spaces();
    std::string word;
    while (!text_.empty() && std::isalpha(static_cast<unsigned char>(text_[0])) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(text_[0])));
      text_.remove_prefix(1);
    }
    return word;
  }

  bool at_end() {
    skip_spaces();
    return text_.empty();
  }

 private:
  void skip_spaces() {
    while (!text_.empty() && text_[0] == ' ') text_.remove_prefix(1);
  }

  std::string_view text_;
};

std::optional<int> session_number(std::string_view key) {
  constexpr std::string_view kPrefix = "session_";
  if (!key.starts_with(kPrefix)) return std::nullopt;
  key.remove_prefix(kPrefix.size());
  int number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  if (error != std::errc() || end != key.data() + key.size() || number < 0) return std::nullopt;
  return number;
}

Result<std::string> text_field(const boost::json::object& object, std::string_view key, const std::string& place) {
  const boost::json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string())
    return invalid_argument(place + ": \"" + std::string(key) + "\" must be a string" +
                            (value == nullptr ? "; it is missing" : ""));
  std::string text(value->get_string());
  RECALLD_RETURN_IF_ERROR(check_text(text, place + "." + std::string(key)));
  return text;
}

struct Speakers {
  std::string a, b;
};

Result<Message> read_turn(const boost::json::value& value, const Speakers& speakers, std::optional<int64_t> time_ms,
                          const std::string& place) {
  const boost::json::object* turn = value.if_object();
  if (turn == nullptr) return invalid_argument(place + " must be an object with \"speaker\" and \"text\"");
  Message message;
  RECALLD_ASSIGN_OR_RETURN(message.speaker, text_field(*turn, "speaker", place));
  RECALLD_ASSIGN_OR_RETURN(message.text, text_field(*turn, "text", place));
  if (message.speaker != speakers.a && message.speaker != speakers.b)
    return invalid_argument(place + ": speaker \"" + message.speaker + "\" is neither speaker_a (\"" + speakers.a +
                            "\") nor speaker_b (\"" + speakers.b + "\")");
  message.role = message.speaker == speakers.a ? "user" : "assistant";
  message.time_ms = time_ms;
  const boost::json::value* caption = turn->if_contains("blip_caption");
  if (caption != nullptr && !caption->is_null()) {
    RECALLD_ASSIGN_OR_RETURN(const std::string words, text_field(*turn, "blip_caption", place));
    message.text += (message.text.empty() ? "[shares a photo: " : " [shares a photo: ") + words + "]";
  }
  return message;
}

Result<const boost::json::object*> conversation_of(const boost::json::value& root) {
  const boost::json::value* value = &root;
  if (const boost::json::array* list = root.if_array()) {
    if (list->size() != 1)
      return invalid_argument("the file holds " + std::to_string(list->size()) +
                              " conversations; import one at a time");
    value = &list->front();
  }
  const boost::json::object* object = value->if_object();
  if (object != nullptr) {
    if (const boost::json::value* inner = object->if_contains("conversation")) object = inner->if_object();
  }
  if (object == nullptr || !object->contains("speaker_a"))
    return invalid_argument(
        "the JSON is not a LoCoMo conversation: no object \"conversation\" with \"speaker_a\", \"speaker_b\" and "
        "\"session_1\"; for one message a line send Content-Type application/x-ndjson");
  return object;
}

}  // namespace

Result<std::vector<Message>> parse_ndjson(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<Message> messages;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (blank(line)) continue;
    const std::string place = "line " + std::to_string(number);
    if (messages.size() == kMaxImportMessages)
      return too_large(place + ": more than " + std::to_string(kMaxImportMessages) + " messages; import in parts");
    const Result<boost::json::value> value = parse_json(line, number);
    if (!value.ok()) return value.status();
    Message message;
    if (const auto problem = read_message(*value, &message))
      return invalid_argument(place + ": " + (problem->field.empty() ? "the message" : "\"" + problem->field + "\"") +
                              " " + problem->message);
    messages.push_back(std::move(message));
  }
  if (messages.empty()) return invalid_argument("there are no messages; send one JSON object a line");
  return messages;
}

Result<int64_t> parse_locomo_time(std::string_view text) {
  TimeReader reader(text);
  const int hour = reader.number(2);
  const int minute = reader.symbol(':') ? reader.number(2) : -1;
  const std::string half = reader.word();
  const bool on = reader.word() == "on";
  const int day = reader.number(2);
  const std::string month_name = reader.word();
  const bool comma = reader.symbol(',');
  const int year = reader.number(4);
  const auto month = std::find_if(kMonths.begin(), kMonths.end(), [&](std::string_view name) {
    return month_name.size() >= 3 && name.starts_with(month_name);
  });
  if (hour < 1 || hour > 12 || minute < 0 || minute > 59 || (half != "am" && half != "pm") || !on || day < 1 ||
      !comma || year < 1000 || month == kMonths.end() || !reader.at_end())
    return invalid_argument("\"" + std::string(text) + "\" is not a date like \"1:56 pm on 8 May, 2023\"");
  const int hour24 = hour % 12 + (half == "pm" ? 12 : 0);
  const std::string stamp = std::to_string(year) + "-" + two_digits(static_cast<int>(month - kMonths.begin()) + 1) +
                            "-" + two_digits(day) + "T" + two_digits(hour24) + ":" + two_digits(minute) + ":00Z";
  int64_t unix_ms = 0;
  // A day such as 31 June would silently become 1 July.
  if (!parse_rfc3339(stamp, &unix_ms) || format_rfc3339(unix_ms) != stamp)
    return invalid_argument("\"" + std::string(text) + "\" is not a day of the calendar");
  return unix_ms;
}

Result<std::vector<Message>> parse_locomo(std::string_view text) {
  RECALLD_ASSIGN_OR_RETURN(const boost::json::value root, parse_json(text));
  RECALLD_ASSIGN_OR_RETURN(const boost::json::object* conversation, conversation_of(root));
  Speakers speakers;
  RECALLD_ASSIGN_OR_RETURN(speakers.a, text_field(*conversation, "speaker_a", "conversation"));
  RECALLD_ASSIGN_OR_RETURN(speakers.b, text_field(*conversation, "speaker_b", "conversation"));

  std::map<int, const boost::json::value*> sessions;
  for (const auto& member : *conversation)
    if (const auto number = session_number(member.key())) sessions.emplace(*number, &member.value());
  std::vector<Message> messages;
  for (const auto& [number, value] : sessions) {
    const std::string name = "session_" + std::to_string(number);
    const boost::json::array* turns = value->if_array();
    if (turns == nullptr) return invalid_argument(name + " must be an array of turns");
    std::optional<int64_t> time_ms;
    if (conversation->contains(name + "_date_time")) {
      RECALLD_ASSIGN_OR_RETURN(const std::string date, text_field(*conversation, name + "_date_time", "conversation"));
      const Result<int64_t> parsed = parse_locomo_time(date);
      if (!parsed.ok()) return parsed.status().with_context(name + "_date_time");
      time_ms = *parsed;
    }
    for (size_t i = 0; i < turns->size(); ++i) {
      if (messages.size() == kMaxImportMessages)
        return too_large("more than " + std::to_string(kMaxImportMessages) + " turns; import in parts");
      RECALLD_ASSIGN_OR_RETURN(Message message,
                               read_turn((*turns)[i], speakers, time_ms, name + "[" + std::to_string(i) + "]"));
      messages.push_back(std::move(message));
    }
  }
  if (messages.empty()) return invalid_argument("the conversation has no turns; \"session_1\" should be their array");
  return messages;
}

std::string messages_digest(std::span<const Message> messages) {
  Digester digester;
  digester.add("recalld messages 1");
  for (const Message& message : messages) {
    digester.add(message.role);
    digester.add(message.speaker);
    digester.add(message.text);
    digester.add(static_cast<uint64_t>(message.time_ms.has_value() ? 1 : 0));
    digester.add(static_cast<uint64_t>(message.time_ms.value_or(0)));
  }
  return digester.finish().hex();
}

}  // namespace recalld::daemon
