// What a session remembers, drawn: totals, when it was said, and the episode map.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "app/recallctl/terminal.h"
#include "app/recallctl/timeline.h"

namespace recalld::recallctl {

// `memory` is the answer of GET /v1/sessions/{id}/memory. Every part ends with a newline; without episodes, or without
// dated messages, theirs is empty.
std::string memory_lines(const boost::json::object& memory);
std::string timeline_text(const Timeline& timeline, const Look& look);
std::string episodes_text(const boost::json::object& memory, const Look& look);

}  // namespace recalld::recallctl
