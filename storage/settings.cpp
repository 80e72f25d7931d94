#include "storage/settings.h"

namespace recalld::storage {

Status put_setting(Database& database, std::string_view key, std::string_view value) {
  RECALLD_ASSIGN_OR_RETURN(Statement put, database.prepare("INSERT INTO settings(key, value) VALUES(?, ?)"
                                                           " ON CONFLICT(key) DO UPDATE SET value = excluded.value"));
  return put.bind(1, key).bind(2, value).run();
}

Result<std::optional<std::string>> get_setting(Database& database, std::string_view key) {
  RECALLD_ASSIGN_OR_RETURN(Statement get, database.prepare("SELECT value FROM settings WHERE key = ?"));
  RECALLD_ASSIGN_OR_RETURN(const bool row, get.bind(1, key).step());
  return row ? std::optional(get.column_text(0)) : std::nullopt;
}

Status erase_setting(Database& database, std::string_view key) {
  RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE FROM settings WHERE key = ?"));
  return erase.bind(1, key).run();
}

Status write_probe(Database& database) {
  return database.exec(
      "INSERT INTO settings(key, value) VALUES('recalld.probe', '1')"
      " ON CONFLICT(key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)");
}

}  // namespace recalld::storage
