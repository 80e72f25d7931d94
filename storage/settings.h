// The table `settings` that both files have: small named values.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

// Present from the transaction that deletes a session until its bytes are gone as well.
inline constexpr std::string_view kScrubKey = "recalld.scrub";

Status put_setting(Database& database, std::string_view key, std::string_view value);
Result<std::optional<std::string>> get_setting(Database& database, std::string_view key);
Status erase_setting(Database& database, std::string_view key);

// Writes something that was not there before, so that the disk is really tried.
Status write_probe(Database& database);

}  // namespace recalld::storage
