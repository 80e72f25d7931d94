// Paths and methods as data.
#pragma once

#include <boost/beast/http/verb.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace recalld::api {

enum class Endpoint {
  kHealth,
  kReady,
  kMetrics,
  kModels,
  kModel,
  kChat,
  kCreateSession,
  kListSessions,
  kSession,
  kDeleteSession,
  kMemory,
  kAppend,
  kImport,
  kWebSocket,
  kBackup,
  kVerify,
};

// What a route needs before its body is read.
struct Route {
  Endpoint endpoint;
  boost::beast::http::verb method;
  std::string_view pattern;  // "/v1/sessions/{id}": label of metrics
  bool open = false;         // no key needed, answered before the daemon is ready
  bool admin = false;
};

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};
// None when it is not a valid request target. Percent-encoding is undone.
std::optional<Target> parse_target(std::string_view target);

struct Match {
  const Route* route = nullptr;  // null: no such path, or not with this method
  std::string id;                // of {id}
  std::string_view pattern = "other";
  std::string allow;  // methods of the path, "GET, HEAD, OPTIONS"; empty when the path is unknown
};
// HEAD matches GET's route.
Match match_route(boost::beast::http::verb method, const std::string& path);

}  // namespace recalld::api
