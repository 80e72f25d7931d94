#include "storage/schema.h"

#include <string>

namespace recalld::storage {

Result<int64_t> inspect(Database& database, const Schema& schema) {
  RECALLD_ASSIGN_OR_RETURN(const int64_t tables, database.query_int("SELECT count(*) FROM sqlite_schema"));
  RECALLD_ASSIGN_OR_RETURN(const int64_t application, database.query_int("PRAGMA application_id"));
  RECALLD_ASSIGN_OR_RETURN(const int64_t version, database.query_int("PRAGMA user_version"));
  const bool fresh = tables == 0 && version == 0 && application == 0;
  if (!fresh && application != schema.application_id) {
    return corrupt(database.path() + ": this database was not made by recalld (application_id " +
                   std::to_string(application) + "); move it away or choose another data directory");
  }
  if (version > schema.version()) {
    return failed_precondition(
        database.path() + ": schema version " + std::to_string(version) + " is newer than version " +
        std::to_string(schema.version()) +
        " of this recalld; install the newer recalld, or restore a copy from before the upgrade");
  }
  if (version < 0) return corrupt(database.path() + ": schema version " + std::to_string(version) + " makes no sense");
  return version;
}

Status migrate(Database& database, const Schema& schema, const std::function<Status(int64_t from)>& before_upgrade) {
  RECALLD_ASSIGN_OR_RETURN(int64_t version, inspect(database, schema));
  if (version >= 1 && version < schema.version() && before_upgrade) RECALLD_RETURN_IF_ERROR(before_upgrade(version));
  while (version < schema.version()) {
    // An empty file has nothing to lose, and one that was being made when the power went is not one to be upgraded.
    const int64_t to = version == 0 ? schema.version() : version + 1;
    const std::string context = database.path() + ": upgrade to schema version " + std::to_string(to);
    RECALLD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(database, Transaction::Mode::kWrite));
    Status done;
    for (; version < to && done.ok(); ++version) done = database.exec(schema.steps[static_cast<size_t>(version)]);
    if (done.ok()) done = database.exec("PRAGMA application_id = " + std::to_string(schema.application_id));
    if (done.ok()) done = database.exec("PRAGMA user_version = " + std::to_string(to));
    if (done.ok()) done = transaction.commit();
    if (!done.ok()) return done.with_context(context);
  }
  return ok_status();
}

}  // namespace recalld::storage
