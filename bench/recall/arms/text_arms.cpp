#include "bench/recall/arms/text_arms.h"

#include <utility>

namespace recalld::bench {
namespace {

using Ranges = std::vector<TokenRange> (*)(const History& history, const Asked& asked);

std::vector<TokenRange> nothing(const History& /*history*/, const Asked& /*asked*/) { return {}; }

std::vector<TokenRange> evidence(const History& history, const Asked& asked) {
  return dated_segments(history, history.segments_of(asked.question.evidence));
}

class TextArm final : public Arm {
 public:
  TextArm(std::string name, Ranges ranges) : name_(std::move(name)), ranges_(ranges) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return 0; }
  std::string settings() const override { return "1"; }
  Result<BuildCost> build(const ArmContext& context) override {
    history_ = context.history;
    return BuildCost{};
  }
  Result<Composed> compose(const Asked& asked) override { return reread(*history_, ranges_(*history_, asked)); }

 private:
  std::string name_;
  Ranges ranges_;
  const History* history_ = nullptr;
};

}  // namespace

Composed reread(const History& history, const std::vector<TokenRange>& ranges) {
  Composed composed;
  const auto add = [&](const TokenRange& range) {
    const auto first = history.tokens.begin() + range.first;
    composed.text.insert(composed.text.end(), first, first + range.n);
    composed.text_of.push_back(range);
  };
  add(history.start);
  for (const TokenRange& range : ranges) add(range);
  return composed;
}

std::vector<TokenRange> dated_segments(const History& history, const std::vector<int>& segments) {
  std::vector<TokenRange> ranges;
  int64_t dated = -1;
  for (const int i : segments) {
    const retrieval::Segment& segment = history.segments[static_cast<size_t>(i)];
    const TokenRange header = history.session_header(static_cast<int>(segment.first_turn));
    TokenRange words{segment.token_first, segment.n_tokens};
    if (header.n > 0 && header.first == words.first) words = {header.end(), words.n - header.n};
    if (header.n > 0 && header.first != dated) ranges.push_back(header);
    if (header.n > 0) dated = header.first;
    ranges.push_back(words);
  }
  return ranges;
}

std::unique_ptr<Arm> make_none() { return std::make_unique<TextArm>("none", nothing); }
std::unique_ptr<Arm> make_evidence_text() { return std::make_unique<TextArm>("evidence_text", evidence); }

}  // namespace recalld::bench
