#include "api/keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <strings.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "daemon/service.h"

namespace recalld::api {
namespace {

constexpr std::string_view kDigestPrefix = "sha256:";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Sha256> parse_digest(std::string_view hex) {
  Sha256 digest{};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<unsigned char>(high * 16 + low);
  }
  return digest;
}

}  // namespace

Sha256 sha256(std::string_view text) {
  Sha256 digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

Result<KeyRing::Entry> KeyRing::parse_line(const std::string& line) {
  std::istringstream words(line);
  std::string name, key, mark, more;
  words >> name >> key >> mark >> more;
  if (key.empty() || !more.empty() || (!mark.empty() && mark != "admin"))
    return invalid_argument("a line must be `name key` or `name key admin`");
  RECALLD_RETURN_IF_ERROR(daemon::check_text(name, "the name"));
  Entry entry{{name, mark == "admin"}, {}};
  if (!key.starts_with(kDigestPrefix)) {
    entry.digest = sha256(key);
    return entry;
  }
  const auto digest = parse_digest(std::string_view(key).substr(kDigestPrefix.size()));
  if (!digest) return invalid_argument("sha256: must be followed by 64 hexadecimal digits");
  entry.digest = *digest;
  return entry;
}

Status KeyRing::load(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return invalid_argument("cannot read the keys file " + path + "; make it, or unset server.api_keys_file");
  if ((info.st_mode & S_IRWXO) != 0)
    return invalid_argument("others may read the keys file " + path + "; run: chmod o= " + path);
  std::ifstream file(path);
  if (!file) return invalid_argument("cannot read the keys file " + path + "; check its owner and mode");
  std::vector<Entry> entries;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    const std::string place = path + ":" + std::to_string(number);
    const Result<Entry> entry = parse_line(line);
    if (!entry.ok()) return entry.status().with_context(place);
    for (const Entry& other : entries) {
      if (other.digest == entry->digest) return invalid_argument(place + ": the same key is there twice");
      if (other.caller.principal == entry->caller.principal && other.caller.admin != entry->caller.admin)
        return invalid_argument(place + ": " + other.caller.principal + " is admin in one line and not in another");
    }
    entries.push_back(*entry);
  }
  if (entries.empty()) return invalid_argument(path + " has no keys; add a line `name key`");
  const std::lock_guard lock(mutex_);
  entries_ = std::move(entries);
  required_ = true;
  return ok_status();
}

bool KeyRing::required() const {
  const std::lock_guard lock(mutex_);
  return required_;
}

std::optional<Caller> KeyRing::find(std::string_view key) const {
  const Sha256 digest = sha256(key);
  const std::lock_guard lock(mutex_);
  std::optional<Caller> found;
  // No early end: the time must not tell which line matched.
  for (const Entry& entry : entries_)
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = entry.caller;
  return found;
}

std::string_view bearer_key(std::string_view authorization) {
  constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() < kScheme.size() || ::strncasecmp(authorization.data(), kScheme.data(), kScheme.size()) != 0)
    return {};
  authorization.remove_prefix(kScheme.size());
  const size_t first = authorization.find_first_not_of(' ');
  return first == std::string_view::npos ? std::string_view() : authorization.substr(first);
}

}  // namespace recalld::api
