#include "bench/recall/evidence.h"

#include <cctype>
#include <optional>

namespace recalld::bench {
namespace {

constexpr size_t kMaxDigits = 6;
// A longer range is a slip of the pen.
constexpr int kMaxRange = 50;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool at_end() const { return at_ >= text_.size(); }
  size_t place() const { return at_; }
  void go_to(size_t place) { at_ = place; }
  void skip() { ++at_; }

  void skip_spaces() {
    while (!at_end() && text_[at_] == ' ') ++at_;
  }

  bool take(char wanted) {
    if (at_end() || std::toupper(static_cast<unsigned char>(text_[at_])) != wanted) return false;
    ++at_;
    return true;
  }

  std::optional<int> number() {
    const size_t first = at_;
    int value = 0;
    while (!at_end() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0 && at_ - first < kMaxDigits)
      value = value * 10 + (text_[at_++] - '0');
    if (at_ == first) return std::nullopt;
    return value;
  }

  // "8:6", with or without "D" or "D:" before it; the place is unchanged when there is none.
  std::optional<TurnId> turn() {
    const size_t start = at_;
    if (take('D')) take(':');
    const auto session = number();
    if (session.has_value() && take(':')) {
      skip_spaces();
      if (const auto line = number()) return TurnId{*session, *line};
    }
    at_ = start;
    return std::nullopt;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// What follows a turn: the last line of a range in the same session, if it is one.
std::optional<int> range_end(Reader& reader, const TurnId& first) {
  const size_t start = reader.place();
  reader.skip_spaces();
  if (reader.take('-')) {
    reader.skip_spaces();
    int last = -1;
    if (const auto turn = reader.turn()) {
      if (turn->first == first.first) last = turn->second;
    } else if (const auto line = reader.number()) {
      last = *line;
    }
    if (last >= first.second && last - first.second <= kMaxRange) return last;
  }
  reader.go_to(start);
  return std::nullopt;
}

}  // namespace

std::vector<TurnId> parse_evidence(std::string_view text) {
  std::vector<TurnId> found;
  Reader reader(text);
  while (!reader.at_end()) {
    const auto turn = reader.turn();
    if (!turn.has_value()) {
      reader.skip();
      continue;
    }
    const int last = range_end(reader, *turn).value_or(turn->second);
    for (int line = turn->second; line <= last; ++line) found.emplace_back(turn->first, line);
  }
  return found;
}

}  // namespace recalld::bench
