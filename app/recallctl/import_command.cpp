#include <boost/json/parse.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "app/recallctl/commands.h"
#include "app/recallctl/follow.h"
#include "app/recallctl/memory_view.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

Result<std::string> read_input(const std::string& file) {
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) return invalid_argument(file + " is a folder; give a file");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return invalid_argument("cannot read " + file + "; give an NDJSON file or a LoCoMo JSON file");
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

struct Format {
  std::string content_type;
  bool names_speakers = false;
};

// NDJSON when the first line alone is a message; else one JSON document. The daemon checks everything.
Format format_of(const std::string& body) {
  std::string_view text = body;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos) text.remove_prefix(start);
  boost::system::error_code error;
  const json::value first = json::parse(std::string(text.substr(0, text.find('\n'))), error);
  if (error || !first.is_object() || !first.as_object().contains("role")) return {"application/json", true};
  return {"application/x-ndjson", first.as_object().contains("speaker") && !first.as_object().at("speaker").is_null()};
}

void report(const json::object& result, const std::string& session, bool wait) {
  const json::value* duplicate = result.if_contains("duplicate");
  if (duplicate != nullptr && *duplicate == json::value(true))
    std::printf("session %s has this file already; nothing was added\n", session.c_str());
  else
    std::printf("session %s: %s messages are stored%s\n", session.c_str(), count_text(int_of(result, "turns")).c_str(),
                wait ? "; reading them" : ", and are read in the background");
  std::fflush(stdout);
}

}  // namespace

Status import_command(const Api& api, const ImportOptions& options, bool json) {
  RECALLD_ASSIGN_OR_RETURN(std::string body, read_input(options.file));
  const Format format = format_of(body);
  std::string session = options.session;
  const bool is_new = session.empty();
  if (is_new) {
    const std::string name = options.file == "-" ? "" : std::filesystem::path(options.file).stem().string();
    std::string style = options.style;
    if (style == "auto") style = format.names_speakers ? "plain" : "";
    RECALLD_ASSIGN_OR_RETURN(const json::object created,
                             api.create_session(options.title.empty() ? name : options.title, style));
    session = string_of(created, "id");
  }
  auto result = api.import(session, std::move(body), format.content_type);
  if (!result.ok()) {
    // Nothing of the file was taken, so the empty session made for it goes too; the import's error is the one to tell.
    if (is_new) (void)api.remove_session(session);
    return result.status().with_context(options.file);
  }
  if (!json) report(*result, session, options.wait);
  json::object summary = *result;
  if (options.wait) {
    RECALLD_ASSIGN_OR_RETURN(json::object memory, follow_reading(api, session, json));
    if (!json) std::printf("%s", memory_lines(memory).c_str());
    summary["memory"] = std::move(memory);
  }
  if (json) print_json(summary);
  return ok_status();
}

}  // namespace recalld::recallctl
