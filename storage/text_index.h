// Which texts hold which words: a full-text index (SQLite FTS5) in memory. It belongs to one session, so no word count
// crosses a session; it is filled anew from the transcript when the session is opened, so none of it is ever on disk.
//
// Words are found whatever their case, accents and ending: tokenizer `porter unicode61 remove_diacritics 2`.
//
// Not thread-safe: one owner thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

// k1: how soon further occurrences of a term stop counting; b: how much longer texts are held back (0 = not at all).
// Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), eq. 3.15.
struct Bm25Options {
  double k1 = 1.2;
  double b = 0.75;
};

struct TextMatch {
  int64_t id = 0;
  double score = 0;             // BM25: the sum of by_term
  std::vector<double> by_term;  // what each term of the query brought, in the query's order; 0 = not in the text
};

class TextIndex {
 public:
  static Result<std::unique_ptr<TextIndex>> create(const Bm25Options& options = {});
  ~TextIndex();
  TextIndex(const TextIndex&) = delete;
  TextIndex& operator=(const TextIndex&) = delete;

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }

  // Costs what the text is long, not what is there already. kAlreadyExists for an id added before.
  Status add(int64_t id, std::string_view text);

  // The texts that hold at least one of the terms, by id. A term is plain text, never FTS5 syntax: quotes, operators
  // and column names in it are words or separators like any others; a term of several words matches them in a row, one
  // without any word matches nothing. The weight of a term is log(1 + (N - n + 0.5) / (n + 0.5)), n of N texts holding
  // it, which is never negative.
  Result<std::vector<TextMatch>> search(std::span<const std::string> terms);

 private:
  TextIndex(std::unique_ptr<Database> database, const Bm25Options& options)
      : database_(std::move(database)), options_(options) {}

  std::unique_ptr<Database> database_;
  std::unique_ptr<Statement> insert_, select_;  // made from database_
  const Bm25Options options_;
  std::unordered_set<int64_t> ids_;
};

}  // namespace recalld::storage
