#include "runtime/chat_template.h"

#include <llama.h>

#include <array>
#include <exception>
#include <optional>

#include "runtime/llama_log.h"

namespace recalld::runtime {
namespace {

constexpr char kMarkStart = '\x02';
constexpr char kMarkEnd = '\x03';

bool is_known_role(const std::string& role) { return role == "system" || role == "user" || role == "assistant"; }

// Stands for the content of message i while the template is at work, with white space that shows whether it trims.
std::string mark(size_t i) { return std::string(" ") + kMarkStart + std::to_string(i) + kMarkEnd + " "; }

// The conversation with marks for contents, or nothing when libllama does not know the template.
std::optional<std::string> render_marks(const std::string& template_text, std::span<const ChatMessage> messages,
                                        bool add_generation_prompt) {
  std::vector<std::string> contents;
  for (size_t i = 0; i < messages.size(); ++i) contents.push_back(mark(i));
  std::vector<llama_chat_message> chat;
  for (size_t i = 0; i < messages.size(); ++i) chat.push_back({messages[i].role.c_str(), contents[i].c_str()});
  std::string out(256 + messages.size() * 64, '\0');
  try {
    const auto run = [&] {
      return llama_chat_apply_template(template_text.c_str(), chat.data(), chat.size(), add_generation_prompt,
                                       out.data(), static_cast<int32_t>(out.size()));
    };
    int32_t n = run();
    if (n > static_cast<int32_t>(out.size())) {
      out.resize(static_cast<size_t>(n));
      n = run();
    }
    if (n < 0) return std::nullopt;
    out.resize(static_cast<size_t>(n));
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return out;
}

std::string trim(const std::string& text) {
  constexpr const char* kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

void push(std::string text, bool is_markup, std::vector<TextSegment>* segments) {
  if (!text.empty()) segments->push_back({std::move(text), is_markup});
}

// Puts the contents in place of their marks.
std::vector<TextSegment> fill_in(const std::string& marked, std::span<const ChatMessage> messages) {
  std::vector<TextSegment> segments;
  size_t at = 0;
  for (size_t start = marked.find(kMarkStart); start != std::string::npos; start = marked.find(kMarkStart, at)) {
    const size_t end = marked.find(kMarkEnd, start);
    const std::string& content = messages[std::stoul(marked.substr(start + 1, end - start - 1))].content;
    const bool keeps_space =
        start > at && marked[start - 1] == ' ' && end + 1 < marked.size() && marked[end + 1] == ' ';
    push(marked.substr(at, start - at - (keeps_space ? 1 : 0)), true, &segments);
    push(keeps_space ? content : trim(content), false, &segments);
    at = end + 1 + (keeps_space ? 1 : 0);
  }
  push(marked.substr(at), true, &segments);
  return segments;
}

// What b adds to a, or nothing when a is not the beginning of b.
std::optional<std::string> added(const std::optional<std::string>& a, const std::optional<std::string>& b) {
  if (!a || !b || !b->starts_with(*a)) return std::nullopt;
  return b->substr(a->size());
}

Status not_append_only() {
  return unsupported("the model's chat template rewrites earlier turns when a new one comes; use the plain style");
}

}  // namespace

Result<ChatTemplate> ChatTemplate::create(const std::string& template_text) {
  if (template_text.empty()) return unsupported("the model has no chat template; use the plain style");
  quiet_llama_log();
  ChatTemplate result;
  result.template_text_ = template_text;
  const std::array<ChatMessage, 5> sample = {
      {{"system", ""}, {"user", ""}, {"assistant", ""}, {"user", ""}, {"assistant", ""}}};
  const std::span<const ChatMessage> messages(sample);
  const auto render = [&](size_t first, size_t n, bool prompt) {
    return render_marks(template_text, messages.subspan(first, n), prompt);
  };
  if (!render(1, 1, false)) {
    return unsupported("the model's chat template is none of the formats this build knows; use the plain style");
  }
  for (const size_t first : {size_t{0}, size_t{1}}) {
    for (size_t n = 1; first + n < messages.size(); ++n) {
      if (!added(render(first, n, false), render(first, n + 1, false))) return not_append_only();
    }
  }
  const auto prefix = added(render(1, 1, false), render(1, 1, true));
  const auto answer = added(render(1, 1, false), render(1, 2, false));
  if (!prefix || !answer->starts_with(*prefix)) return not_append_only();
  result.generation_prefix_ = *prefix;
  const size_t end = answer->find(kMarkEnd);
  if (end == std::string::npos) return not_append_only();
  const bool keeps_space = end + 1 < answer->size() && (*answer)[end + 1] == ' ';
  result.answer_suffix_ = answer->substr(end + 1 + (keeps_space ? 1 : 0));
  return result;
}

Result<std::vector<TextSegment>> ChatTemplate::render_turn(std::span<const ChatMessage> before,
                                                           const ChatMessage& turn) const {
  std::vector<ChatMessage> messages(before.begin(), before.end());
  messages.push_back(turn);
  for (const ChatMessage& message : messages) {
    if (!is_known_role(message.role)) {
      return invalid_argument("role '" + message.role + "' is not known; use system, user or assistant");
    }
  }
  const auto earlier = before.empty() ? std::string() : render_marks(template_text_, before, false);
  const auto text = added(earlier, render_marks(template_text_, messages, false));
  if (!text) return not_append_only();
  return fill_in(*text, messages);
}

Result<std::vector<TextSegment>> ChatTemplate::render(std::span<const ChatMessage> messages,
                                                      bool add_generation_prompt) const {
  std::vector<TextSegment> segments;
  for (size_t i = 0; i < messages.size(); ++i) {
    RECALLD_ASSIGN_OR_RETURN(auto turn, render_turn(messages.first(i), messages[i]));
    segments.insert(segments.end(), turn.begin(), turn.end());
  }
  if (add_generation_prompt) push(generation_prefix_, true, &segments);
  return segments;
}

}  // namespace recalld::runtime
