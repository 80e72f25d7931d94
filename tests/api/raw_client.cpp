#include "tests/api/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace recalld::api {
namespace {

constexpr int kWaitMs = 10'000;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

RawClient::RawClient(const std::string& address, int receive_buffer) {
  const bool local = address.starts_with("unix:");
  socket_ = ::socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  if (local) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, address.c_str() + 5, sizeof to.sun_path - 1);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    return;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  const size_t colon = address.rfind(':');
  ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
}

RawClient::~RawClient() { close(); }

bool RawClient::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawClient::end_sending() { ::shutdown(socket_, SHUT_WR); }

void RawClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void RawClient::reset() {
  const linger now{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

bool RawClient::receive() {
  pollfd one{socket_, POLLIN, 0};
  if (::poll(&one, 1, kWaitMs) <= 0) return false;
  char piece[65536];
  const ssize_t taken = ::recv(socket_, piece, sizeof piece, 0);
  if (taken <= 0) return false;
  buffer_.append(piece, static_cast<size_t>(taken));
  return true;
}

std::string RawClient::read_until(std::string_view text) {
  while (buffer_.find(text) == std::string::npos)
    if (!receive()) return std::exchange(buffer_, "");
  const size_t end = buffer_.find(text) + text.size();
  std::string found = buffer_.substr(0, end);
  buffer_.erase(0, end);
  return found;
}

std::string RawClient::read_to_end(size_t limit) {
  while (buffer_.size() < limit && receive()) {
  }
  return std::exchange(buffer_, "");
}

bool RawClient::at_end() {
  if (!buffer_.empty()) return false;
  pollfd one{socket_, POLLIN, 0};
  if (::poll(&one, 1, kWaitMs) <= 0) return false;
  char byte = 0;
  return ::recv(socket_, &byte, 1, 0) <= 0;
}

RawResponse RawClient::response(bool head_only) {
  RawResponse response;
  const std::string head = read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n")) return response;
  response.status = std::atoi(head.c_str() + std::strlen("HTTP/1.1 "));
  size_t at = head.find("\r\n") + 2;
  while (at + 2 < head.size()) {
    const size_t end = head.find("\r\n", at);
    const std::string line = head.substr(at, end - at);
    const size_t colon = line.find(": ");
    response.headers[lower(line.substr(0, colon))] = line.substr(colon + 2);
    at = end + 2;
  }
  if (head_only || response.status == 204 || response.status < 200) {
    response.complete = true;
    return response;
  }
  if (response.headers.contains("transfer-encoding")) {
    while (true) {
      const std::string size_line = read_until("\r\n");
      if (!size_line.ends_with("\r\n")) return response;
      const size_t size = std::strtoul(size_line.c_str(), nullptr, 16);
      while (buffer_.size() < size + 2)
        if (!receive()) return response;
      response.body += buffer_.substr(0, size);
      buffer_.erase(0, size + 2);
      if (size == 0) break;
    }
    response.complete = true;
    return response;
  }
  const size_t length = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
  while (buffer_.size() < length)
    if (!receive()) return response;
  response.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  response.complete = true;
  return response;
}

std::string request_text(std::string_view method, std::string_view path, std::string_view body, std::string_view more) {
  std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n";
  if (!body.empty()) {
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    if (lower(std::string(more)).find("content-type:") == std::string::npos)
      text += "Content-Type: application/json\r\n";
  }
  return text + std::string(more) + "\r\n" + std::string(body);
}

std::vector<std::string> sse_payloads(const std::string& body) {
  std::vector<std::string> payloads;
  size_t at = 0;
  while ((at = body.find("data: ", at)) != std::string::npos) {
    const size_t end = body.find("\n\n", at);
    payloads.push_back(body.substr(at + 6, end - at - 6));
    at = end;
  }
  return payloads;
}

}  // namespace recalld::api
