// Who may call: API keys from a file.
#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace recalld::api {

struct Caller {
  std::string principal;
  bool admin = false;
};

using Sha256 = std::array<unsigned char, 32>;
Sha256 sha256(std::string_view text);

// The keys of one file: lines `name key [admin]` or `name sha256:HEX [admin]`; '#' starts a comment. Only digests are
// kept in memory. Safe from any thread.
class KeyRing {
 public:
  // Without a file: everyone is "local" and may administrate.
  KeyRing() = default;

  // Reads the file; on an error the keys stay as they were. kInvalidArgument names file and line: unreadable, readable
  // by others, no keys, a line of another form, a name or key twice.
  Status load(const std::string& path);

  bool required() const;
  // The owner of the key, compared in constant time with every key; none when there is none.
  std::optional<Caller> find(std::string_view key) const;

 private:
  struct Entry {
    Caller caller;
    Sha256 digest{};
  };
  static Result<Entry> parse_line(const std::string& line);

  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  bool required_ = false;
};

// The key of "Bearer KEY", case of the scheme ignored; empty when it is of another form.
std::string_view bearer_key(std::string_view authorization);

}  // namespace recalld::api
