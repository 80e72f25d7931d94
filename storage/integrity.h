// SQLite's own checks of a file.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

// One sentence for each problem that integrity_check and foreign_key_check find; empty when there is none. A file that
// is too damaged to be checked is a problem, not an error.
Result<std::vector<std::string>> integrity_problems(Database& database);

}  // namespace recalld::storage
