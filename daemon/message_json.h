// One message as a JSON object: {"role", "content", "speaker" or "name", "time"}.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>

#include "daemon/service.h"

namespace recalld::daemon {

// Which field of an object is wrong, and how. field is relative to the object: "content", "content[2].type", or empty
// for the object itself.
struct FieldProblem {
  std::string field;
  std::string message;
  bool unsupported = false;  // well-formed, but of a kind that cannot be honoured
};

// Fills message, or says what is wrong with the first wrong field. role: "user", "assistant", "system" or "developer"
// (which becomes "system"). content: a string, or an array of text parts, which are joined by newlines. time: RFC 3339,
// or an integer of Unix milliseconds. Other fields are ignored. All texts are checked with check_text.
std::optional<FieldProblem> read_message(const boost::json::value& value, Message* message);

// content alone, as above; field names start with `name`.
std::optional<FieldProblem> read_content(const boost::json::value& value, const std::string& name, std::string* text);

}  // namespace recalld::daemon
