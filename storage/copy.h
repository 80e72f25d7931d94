// Whole-file copies of a database.
#pragma once

#include <string>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

// Writes a consistent copy of what `source` sees to the new file `path` (mode 0600, no WAL), checks it with
// integrity_check and makes it durable. It is made as `path`.part and renamed at the end, so that no partial file is
// ever found at `path`. kAlreadyExists when `path` or `path`.part exists; kStorageFull when it cannot be written.
Status copy_database(Database& source, const std::string& path, const std::string& vfs);

}  // namespace recalld::storage
