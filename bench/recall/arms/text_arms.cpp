#include "bench/recall/arms/text_arms.h"

#include <algorithm>

namespace recalld::bench {
namespace {

class None final : public Arm {
 public:
  const std::string& name() const override { return name_; }
  int budget() const override { return 0; }
  std::string settings() const override { return "1"; }
  Result<BuildCost> build(const ArmContext& context) override {
    history_ = context.history;
    return BuildCost{};
  }
  Result<Composed> compose(const Asked& /*asked*/) override { return reread(*history_, {}); }

 private:
  std::string name_ = "none";
  const History* history_ = nullptr;
};

class EvidenceText final : public Arm {
 public:
  const std::string& name() const override { return name_; }
  int budget() const override { return 0; }
  std::string settings() const override { return "1"; }
  Result<BuildCost> build(const ArmContext& context) override {
    history_ = context.history;
    return BuildCost{};
  }
  Result<Composed> compose(const Asked& asked) override {
    return reread(*history_, dated_segments(*history_, history_->segments_of(asked.question.evidence)));
  }

 private:
  std::string name_ = "evidence_text";
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

std::unique_ptr<Arm> make_none() { return std::make_unique<None>(); }
std::unique_ptr<Arm> make_evidence_text() { return std::make_unique<EvidenceText>(); }

}  // namespace recalld::bench
