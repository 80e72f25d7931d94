#include "storage/text_index.h"

#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace recalld::storage {
namespace {

// What the built-in bm25() hides, because it fixes k1 and b: how often the phrase stands in the row, how many words the
// row has, and how many all rows have.
void phrase_count(const Fts5ExtensionApi* api, Fts5Context* row, sqlite3_context* result, int, sqlite3_value**) {
  int count = 0;
  const int code = api->xInstCount(row, &count);
  code == SQLITE_OK ? sqlite3_result_int(result, count) : sqlite3_result_error_code(result, code);
}

void row_words(const Fts5ExtensionApi* api, Fts5Context* row, sqlite3_context* result, int, sqlite3_value**) {
  int words = 0;
  const int code = api->xColumnSize(row, -1, &words);
  code == SQLITE_OK ? sqlite3_result_int(result, words) : sqlite3_result_error_code(result, code);
}

void all_words(const Fts5ExtensionApi* api, Fts5Context* row, sqlite3_context* result, int, sqlite3_value**) {
  sqlite3_int64 words = 0;
  const int code = api->xColumnTotalSize(row, -1, &words);
  code == SQLITE_OK ? sqlite3_result_int64(result, words) : sqlite3_result_error_code(result, code);
}

Result<fts5_api*> fts5_of(Database& database) {
  fts5_api* api = nullptr;
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(database.handle(), "SELECT fts5(?1)", -1, &statement, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_bind_pointer(statement, 1, static_cast<void*>(&api), "fts5_api_ptr", nullptr);
    sqlite3_step(statement);
    code = sqlite3_finalize(statement);
  }
  if (code != SQLITE_OK || api == nullptr)
    return unsupported("this SQLite was built without FTS5; install one built with SQLITE_ENABLE_FTS5");
  return api;
}

// The term as one FTS5 string: everything between quotes is text.
std::string quoted(std::string_view term) {
  std::string text = "\"";
  for (const char c : term) {
    if (c == '\0') {
      text += ' ';
      continue;
    }
    if (c == '"') text += '"';
    text += c;
  }
  return text + "\"";
}

}  // namespace

Result<std::unique_ptr<TextIndex>> TextIndex::create(const Bm25Options& options) {
  RECALLD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::open(":memory:", {}));
  RECALLD_ASSIGN_OR_RETURN(fts5_api * api, fts5_of(*database));
  const std::pair<const char*, fts5_extension_function> functions[] = {
      {"phrase_count", phrase_count}, {"row_words", row_words}, {"all_words", all_words}};
  for (const auto& [name, function] : functions)
    if (api->xCreateFunction(api, name, nullptr, function, nullptr) != SQLITE_OK)
      return resource_exhausted("no memory for the text index");
  // Sorting must not spill into a file; the texts themselves are not kept.
  RECALLD_RETURN_IF_ERROR(
      database->exec("PRAGMA temp_store = MEMORY; CREATE VIRTUAL TABLE texts USING "
                     "fts5(text, content = '', tokenize = 'porter unicode61 remove_diacritics 2')"));
  std::unique_ptr<TextIndex> index(new TextIndex(std::move(database), options));
  RECALLD_ASSIGN_OR_RETURN(Statement insert,
                           index->database_->prepare("INSERT INTO texts (rowid, text) VALUES (?, ?)"));
  index->insert_ = std::make_unique<Statement>(std::move(insert));
  RECALLD_ASSIGN_OR_RETURN(
      Statement select,
      index->database_->prepare(
          "SELECT rowid, phrase_count(texts), row_words(texts), all_words(texts) FROM texts WHERE texts MATCH ?"));
  index->select_ = std::make_unique<Statement>(std::move(select));
  return index;
}

TextIndex::~TextIndex() = default;

Status TextIndex::add(int64_t id, std::string_view text) {
  // A table without contents would take an id twice and count its words twice.
  if (ids_.contains(id)) return already_exists("text " + std::to_string(id) + " is in the index already");
  RECALLD_RETURN_IF_ERROR(insert_->bind(1, id).bind(2, text).run());
  ids_.insert(id);
  return ok_status();
}

Result<std::vector<TextMatch>> TextIndex::search(std::span<const std::string> terms) {
  struct Row {
    int64_t id;
    double count, words, mean_words;
  };
  const auto n_texts = static_cast<double>(ids_.size());
  std::map<int64_t, TextMatch> matches;
  std::vector<Row> rows;
  for (size_t t = 0; t < terms.size(); ++t) {
    rows.clear();
    const std::string phrase = quoted(terms[t]);
    select_->bind(1, phrase);
    while (true) {
      Result<bool> row = select_->step();
      if (!row.ok()) {
        select_->reset();
        return row.status();
      }
      if (!*row) break;
      rows.push_back({select_->column_int(0), static_cast<double>(select_->column_int(1)),
                      static_cast<double>(select_->column_int(2)),
                      static_cast<double>(select_->column_int(3)) / n_texts});
    }
    select_->reset();
    const auto n = static_cast<double>(rows.size());
    const double weight = std::log(1 + (n_texts - n + 0.5) / (n + 0.5));
    for (const Row& row : rows) {
      const double length = 1 - options_.b + options_.b * row.words / row.mean_words;
      TextMatch& match = matches[row.id];
      match.id = row.id;
      match.by_term.resize(terms.size());
      match.by_term[t] = weight * row.count * (options_.k1 + 1) / (row.count + options_.k1 * length);
      match.score += match.by_term[t];
    }
  }
  std::vector<TextMatch> found;
  found.reserve(matches.size());
  for (auto& [id, match] : matches) found.push_back(std::move(match));
  return found;
}

}  // namespace recalld::storage
