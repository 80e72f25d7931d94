// An arm: one way to give a model what it needs of a history when a question comes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/recall/full_pass.h"
#include "bench/recall/history.h"
#include "cache/view.h"
#include "runtime/engine.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {

// What arms share of one conversation. Everything is borrowed and outlives the arms.
struct ArmContext {
  const History* history = nullptr;
  runtime::Engine* engine = nullptr;
  std::shared_ptr<const runtime::Tokenizer> tokenizer;
  std::shared_ptr<cache::MemoryPool> pool;
  // The history read from end to end; the first call reads it. kTooLarge when it does not fit the window.
  std::function<Result<const FullPass*>()> full_pass;
  // What several arms of one conversation are built from, by name.
  std::map<std::string, std::shared_ptr<void>>* parts = nullptr;

  // The part of this name; the first call makes it. Parts of one name are of one type.
  template <typename T, typename Make>
  Result<std::shared_ptr<T>> shared(const std::string& name, const Make& make) const {
    if (const auto found = parts->find(name); found != parts->end()) return std::static_pointer_cast<T>(found->second);
    Result<std::shared_ptr<T>> made = make();
    if (made.ok()) parts->emplace(name, *made);
    return made;
  }
};

// What was spent before the first question.
struct BuildCost {
  int64_t tokens_read = 0;  // through the model
  // Of the whole session at rest: pages, vectors and tables; not the transcript, which every arm has.
  size_t bytes_held = 0;
  double seconds = 0;
};

// What the question is read after.
struct Composed {
  cache::View view;                 // no layers: no pages
  std::vector<int32_t> text;        // tokens read after the view, before the question
  std::vector<TokenRange> text_of;  // the history's tokens that they repeat
  // Where the view's pages do not say which tokens they hold (eviction inside pages): the share of the question's
  // evidence that is kept, over layers and heads, and the tokens whose segments were chosen.
  std::optional<double> survival;
  std::optional<std::vector<TokenRange>> chosen;
};

class Arm {
 public:
  virtual ~Arm() = default;

  // "evidence_text": what figures are called by.
  virtual const std::string& name() const = 0;
  // Tokens that a question may see; 0 where nothing chooses.
  virtual int budget() const = 0;
  // All that the answers depend on besides model, history and budget, with a number that is raised whenever the arm's
  // code changes what it does: records made under other settings are not used again.
  virtual std::string settings() const = 0;

  // Once per conversation, before compose.
  virtual Result<BuildCost> build(const ArmContext& context) = 0;
  virtual Result<Composed> compose(const Asked& asked) = 0;
};

}  // namespace recalld::bench
