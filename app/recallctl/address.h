// Where the daemon listens, as given with --server.
#pragma once

#include <string>

#include "base/status.h"

namespace recalld::recallctl {

struct Address {
  std::string host, port;   // of a TCP server
  std::string socket_path;  // of a unix socket; empty for TCP
  std::string text;         // as given, for messages

  bool is_unix() const { return !socket_path.empty(); }
  // Value of the Host header.
  std::string host_header() const;
};

// "http://HOST[:PORT]" (port 8642 when left out, IPv6 in brackets) or "unix:/path/of/socket".
// kInvalidArgument names the text and the accepted forms.
Result<Address> parse_address(const std::string& text);

}  // namespace recalld::recallctl
