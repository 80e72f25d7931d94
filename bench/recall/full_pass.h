// A history read once from end to end, its KV entries cut into 16-bit page groups at the borders of date lines and
// turns.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bench/recall/history.h"
#include "cache/view.h"
#include "retrieval/compose.h"
#include "runtime/engine.h"

namespace recalld::bench {

// kTooLarge when the history, a question and its answer do not fit the model's window.
Status check_fits_window(const History& history, const runtime::Engine& engine);

class FullPass {
 public:
  // Reads history.tokens. kTooLarge when they do not fit the model's window.
  static Result<FullPass> read(const History& history, runtime::Engine& engine,
                               const std::shared_ptr<cache::MemoryPool>& pool);

  // Page groups that lie wholly inside one of the ranges, the pinned ones and the newest `recent` tokens (whole groups)
  // beside them: in the order of the text, each once.
  std::vector<size_t> choose(std::span<const TokenRange> ranges, int64_t recent) const;
  // Tokens of the chosen groups.
  int64_t count(std::span<const size_t> chosen) const;
  cache::View compose(std::span<const size_t> chosen) const;

  const std::vector<retrieval::PageGroup>& groups() const { return groups_; }
  size_t bytes() const;
  double seconds() const { return seconds_; }

 private:
  std::vector<retrieval::PageGroup> groups_;
  size_t n_layers_ = 0;
  double seconds_ = 0;
};

}  // namespace recalld::bench
