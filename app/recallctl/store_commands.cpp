#include <cstdio>
#include <filesystem>

#include "app/recallctl/commands.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

namespace json = boost::json;

Status backup_command(const Api& api, const std::string& path, bool json) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).string();
  if (error) return invalid_argument("cannot make " + path + " absolute: " + error.message());
  RECALLD_ASSIGN_OR_RETURN(const json::object result, api.backup(absolute));
  if (json)
    print_json(result);
  else
    std::printf("the transcripts are copied to %s on the daemon's machine\n", string_of(result, "path").c_str());
  return ok_status();
}

Status verify_command(const Api& api, bool json) {
  RECALLD_ASSIGN_OR_RETURN(const json::object result, api.verify());
  if (json) print_json(result);
  const json::value* all_ok = result.if_contains("ok");
  const json::value* stores = result.if_contains("stores");
  if (!json && stores != nullptr && stores->is_array()) {
    for (const json::value& value : stores->as_array()) {
      if (!value.is_object()) continue;
      const json::object& store = value.as_object();
      const json::value* problems = store.if_contains("problems");
      const bool clean = problems == nullptr || !problems->is_array() || problems->as_array().empty();
      std::printf("%s: %s\n", string_of(store, "name").c_str(), clean ? "ok" : "damaged");
      if (clean) continue;
      for (const json::value& problem : problems->as_array())
        if (problem.is_string()) std::printf("  %s\n", printable(std::string(problem.as_string())).c_str());
    }
  }
  if (all_ok == nullptr || *all_ok != json::value(true))
    return corrupt("a store is damaged; kv.db heals by itself (restart recalld), memory.db comes back from a backup");
  return ok_status();
}

}  // namespace recalld::recallctl
