#include "bench/recall/arms/page_arms.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "bench/recall/arms/text_arms.h"

namespace recalld::bench {
namespace {

constexpr int64_t kRecentTokens = 128;

class PageArm : public Arm {
 public:
  PageArm(std::string name, int budget) : name_(std::move(name)), budget_(budget) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override { return "1"; }

  Result<BuildCost> build(const ArmContext& context) override {
    history_ = context.history;
    RECALLD_ASSIGN_OR_RETURN(pass_, context.full_pass());
    return BuildCost{static_cast<int64_t>(history_->tokens.size()), pass_->bytes(), pass_->seconds()};
  }

  Result<Composed> compose(const Asked& asked) override {
    Composed composed;
    composed.view = pass_->compose(choose(asked));
    return composed;
  }

 protected:
  virtual std::vector<size_t> choose(const Asked& asked) = 0;

  // Segments with the date lines of their sessions, and the newest tokens with theirs.
  std::vector<size_t> with_segments(const std::vector<int>& segments) const {
    std::vector<TokenRange> ranges = dated_segments(*history_, segments);
    const int last_turn = static_cast<int>(history_->turns.size()) - 1;
    ranges.push_back(history_->session_header(last_turn));
    return pass_->choose(ranges, kRecentTokens);
  }

  const History* history_ = nullptr;
  const FullPass* pass_ = nullptr;

 private:
  std::string name_;
  int budget_;
};

class Full final : public PageArm {
 public:
  Full() : PageArm("full", 0) {}

 protected:
  std::vector<size_t> choose(const Asked& /*asked*/) override {
    std::vector<size_t> all(pass_->groups().size());
    std::iota(all.begin(), all.end(), size_t{0});
    return all;
  }
};

class EvidencePages final : public PageArm {
 public:
  EvidencePages() : PageArm("evidence_pages", 0) {}

 protected:
  std::vector<size_t> choose(const Asked& asked) override {
    return with_segments(history_->segments_of(asked.question.evidence));
  }
};

class Last final : public PageArm {
 public:
  explicit Last(int budget) : PageArm("last", budget) {}

  // Beyond the window there is no full pass to cut pages from: the newest turns are read by themselves.
  Result<BuildCost> build(const ArmContext& context) override {
    Result<BuildCost> cost = PageArm::build(context);
    reread_ = cost.status().code() == StatusCode::kTooLarge;
    return reread_ ? Result<BuildCost>(BuildCost{}) : cost;
  }

  Result<Composed> compose(const Asked& asked) override {
    return reread_ ? reread(*history_, newest_turns()) : PageArm::compose(asked);
  }

 protected:
  std::vector<size_t> choose(const Asked& /*asked*/) override {
    return retrieval::choose_recent(pass_->groups(), budget());
  }

 private:
  std::vector<TokenRange> newest_turns() const {
    int64_t room = budget() - history_->start.n;
    std::vector<TokenRange> ranges;
    for (size_t i = history_->turns.size(); i-- > 0;) {
      const TurnTokens& place = history_->places[i];
      room -= place.header.n + place.words.n;
      if (room < 0) break;
      ranges.push_back({place.words.first - place.header.n, place.header.n + place.words.n});
    }
    std::reverse(ranges.begin(), ranges.end());
    return ranges;
  }

  bool reread_ = false;
};

class Random final : public PageArm {
 public:
  Random(int budget, uint64_t seed) : PageArm("random", budget), seed_(seed) {}
  std::string settings() const override { return PageArm::settings() + " seed=" + std::to_string(seed_); }

 protected:
  std::vector<size_t> choose(const Asked& asked) override {
    Digester digester;
    digester.add(seed_);
    digester.add(history_->id);
    digester.add(static_cast<uint64_t>(asked.question.index));
    std::mt19937_64 random(digester.finish().low);
    std::vector<int> left(history_->segments.size());
    std::iota(left.begin(), left.end(), 0);
    std::vector<int> segments;
    std::vector<size_t> chosen = with_segments(segments);
    while (!left.empty()) {
      const size_t drawn = random() % left.size();
      std::vector<int> more = segments;
      more.insert(std::upper_bound(more.begin(), more.end(), left[drawn]), left[drawn]);
      left.erase(left.begin() + static_cast<ptrdiff_t>(drawn));
      std::vector<size_t> tried = with_segments(more);
      if (pass_->count(tried) > budget()) continue;
      segments = std::move(more);
      chosen = std::move(tried);
    }
    return chosen;
  }

 private:
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Arm> make_full() { return std::make_unique<Full>(); }
std::unique_ptr<Arm> make_evidence_pages() { return std::make_unique<EvidencePages>(); }
std::unique_ptr<Arm> make_last(int budget) { return std::make_unique<Last>(budget); }
std::unique_ptr<Arm> make_random(int budget, uint64_t seed) { return std::make_unique<Random>(budget, seed); }

}  // namespace recalld::bench
