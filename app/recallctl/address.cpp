#include "app/recallctl/address.h"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace recalld::recallctl {
namespace {

constexpr const char* kDefaultPort = "8642";

Status bad_address(const std::string& text, const std::string& why) {
  return invalid_argument("server '" + text + "' " + why + "; give http://HOST:PORT or unix:/path/of/socket");
}

}  // namespace

std::string Address::host_header() const {
  if (is_unix()) return "localhost";
  return host.find(':') == std::string::npos ? host + ":" + port : "[" + host + "]:" + port;
}

Result<Address> parse_address(const std::string& text) {
  Address address;
  address.text = text;
  if (text.starts_with("unix:")) {
    address.socket_path = text.substr(5);
    if (address.socket_path.starts_with("//")) address.socket_path.erase(0, 2);
    if (address.socket_path.empty()) return bad_address(text, "names no socket");
    return address;
  }
  const auto url = boost::urls::parse_uri(text);
  if (!url) return bad_address(text, "is not a URL");
  if (url->scheme() == "https") return bad_address(text, "asks for TLS, which recalld leaves to a proxy");
  if (url->scheme() != "http") return bad_address(text, "has an unknown scheme");
  if (url->encoded_host().empty()) return bad_address(text, "names no host");
  if (!url->encoded_path().empty() && url->encoded_path() != "/") return bad_address(text, "has a path");
  address.host = url->host_address();
  address.port = url->has_port() && !url->port().empty() ? std::string(url->port()) : kDefaultPort;
  return address;
}

}  // namespace recalld::recallctl
