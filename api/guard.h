// Keeps web pages out of a daemon on loopback: DNS rebinding (Host) and cross-site requests (Origin).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recalld::api {

// "localhost" of "localhost:8642", "[::1]" of "[::1]:80"; lower case.
std::string host_of(std::string_view authority);

// True for localhost, 127.0.0.0/8, [::1], and the names in `allowed` (lower case).
bool host_allowed(std::string_view host_header, const std::vector<std::string>& allowed);

// True when there is no Origin, when it names the same host and port as Host, or when it is in `allowed`.
bool origin_allowed(std::string_view origin, std::string_view host_header, const std::vector<std::string>& allowed);

// True for 127.0.0.0/8, ::1 and localhost: an address that only this machine reaches.
bool is_loopback(std::string_view host);

}  // namespace recalld::api
