#include "api/routes.h"

#include <array>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace recalld::api {
namespace {

using boost::beast::http::verb;

constexpr auto kRoutes = std::to_array<Route>({
    {Endpoint::kHealth, verb::get, "/health", true},
    {Endpoint::kHealth, verb::get, "/v1/health", true},
    {Endpoint::kReady, verb::get, "/ready", true},
    {Endpoint::kMetrics, verb::get, "/metrics"},
    {Endpoint::kModels, verb::get, "/v1/models"},
    {Endpoint::kModel, verb::get, "/v1/models/{id}"},
    {Endpoint::kChat, verb::post, "/v1/chat/completions"},
    {Endpoint::kCreateSession, verb::post, "/v1/sessions"},
    {Endpoint::kListSessions, verb::get, "/v1/sessions"},
    {Endpoint::kSession, verb::get, "/v1/sessions/{id}"},
    {Endpoint::kDeleteSession, verb::delete_, "/v1/sessions/{id}"},
    {Endpoint::kMemory, verb::get, "/v1/sessions/{id}/memory"},
    {Endpoint::kAppend, verb::post, "/v1/sessions/{id}/messages"},
    {Endpoint::kImport, verb::post, "/v1/sessions/{id}/import"},
    {Endpoint::kWebSocket, verb::get, "/v1/sessions/{id}/ws"},
    {Endpoint::kBackup, verb::post, "/v1/admin/backup", false, true},
    {Endpoint::kVerify, verb::post, "/v1/admin/verify", false, true},
});

// True when path fits the pattern; {id} takes one segment that is not empty.
bool fits(std::string_view pattern, std::string_view path, std::string* id) {
  const size_t hole = pattern.find("{id}");
  if (hole == std::string_view::npos) return pattern == path;
  const std::string_view after = pattern.substr(hole + 4);
  if (path.size() <= hole + after.size() || !path.starts_with(pattern.substr(0, hole)) || !path.ends_with(after))
    return false;
  const std::string_view segment = path.substr(hole, path.size() - hole - after.size());
  if (segment.find('/') != std::string_view::npos) return false;
  id->assign(segment);
  return true;
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  const auto parsed = boost::urls::parse_uri_reference(target);
  if (!parsed) return std::nullopt;
  Target result;
  result.path = parsed->path();
  if (result.path.size() > 1 && result.path.ends_with('/')) result.path.pop_back();
  for (const auto& param : parsed->params()) result.query.insert_or_assign(param.key, param.value);
  return result;
}

Match match_route(verb method, const std::string& path) {
  if (method == verb::head) method = verb::get;
  Match match;
  for (const Route& route : kRoutes) {
    std::string id;
    if (!fits(route.pattern, path, &id)) continue;
    match.pattern = route.pattern;
    if (route.method == method) {
      match.route = &route;
      match.id = std::move(id);
    }
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += std::string(boost::beast::http::to_string(route.method));
    if (route.method == verb::get) match.allow += ", HEAD";
  }
  if (!match.allow.empty()) match.allow += ", OPTIONS";
  return match;
}

}  // namespace recalld::api
