#include "storage/integrity.h"

namespace recalld::storage {

namespace {

Status collect(Database& database, const char* sql, const char* prefix, std::vector<std::string>& problems) {
  RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare(sql));
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
    if (!row) return ok_status();
    const std::string text = statement.column_text(0);
    if (text != "ok") problems.push_back(database.path() + ": " + prefix + text);
  }
}

}  // namespace

Result<std::vector<std::string>> integrity_problems(Database& database) {
  std::vector<std::string> problems;
  Status done = collect(database, "PRAGMA integrity_check", "", problems);
  if (done.ok()) {
    done = collect(database, "PRAGMA foreign_key_check", "a row without its session in table ", problems);
  }
  if (done.code() == StatusCode::kCorrupt) {
    problems.push_back(done.message());
  } else if (!done.ok()) {
    return done;
  }
  return problems;
}

}  // namespace recalld::storage
