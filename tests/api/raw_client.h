// A client made of a bare socket, so that tests can misbehave.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::api {

struct RawResponse {
  int status = 0;                              // 0: the connection ended before a whole response
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool complete = false;
};

class RawClient {
 public:
  // address: "127.0.0.1:8642" or "unix:/path". receive_buffer: SO_RCVBUF, 0 for the default.
  explicit RawClient(const std::string& address, int receive_buffer = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  // False when the peer has closed.
  bool send(std::string_view text);
  void end_sending();
  void close();
  // Like a process that is killed: the peer gets a reset.
  void reset();

  // The next response. head_only: of a HEAD request. Waits at most ten seconds for each piece.
  RawResponse response(bool head_only = false);
  // What comes until `text` has come, or the end.
  std::string read_until(std::string_view text);
  // What comes until the peer ends the connection, or `limit` bytes.
  std::string read_to_end(size_t limit = size_t{64} << 20);
  // True when the peer has ended the connection (waits for it).
  bool at_end();

 private:
  bool receive();

  int socket_ = -1;
  bool connected_ = false;
  std::string buffer_;
};

// "POST path" with headers Host and Content-Length; `more` are further header lines ending in "\r\n".
std::string request_text(std::string_view method, std::string_view path, std::string_view body = "",
                         std::string_view more = "");

// Payloads of "data: " lines.
std::vector<std::string> sse_payloads(const std::string& body);

}  // namespace recalld::api
