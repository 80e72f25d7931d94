#include "api/guard.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cctype>

namespace recalld::api {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

}  // namespace

std::string host_of(std::string_view authority) {
  if (authority.starts_with('[')) return lower(authority.substr(0, authority.find(']') + 1));
  std::string host = lower(authority.substr(0, authority.find(':')));
  if (host.ends_with('.')) host.pop_back();
  return host;
}

bool is_loopback(std::string_view host) {
  if (lower(host) == "localhost") return true;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return !error && address.is_loopback();
}

bool host_allowed(std::string_view host_header, const std::vector<std::string>& allowed) {
  const std::string host = host_of(host_header);
  return is_loopback(host) || std::ranges::find(allowed, host) != allowed.end();
}

bool origin_allowed(std::string_view origin, std::string_view host_header, const std::vector<std::string>& allowed) {
  if (origin.empty()) return true;
  const std::string wanted = lower(origin);
  if (std::ranges::any_of(allowed, [&](const std::string& one) { return lower(one) == wanted; })) return true;
  const size_t scheme = wanted.find("://");
  return scheme != std::string::npos && wanted.substr(scheme + 3) == lower(host_header);
}

}  // namespace recalld::api
