// Waits until a session's history is in memory.
#pragma once

#include <string>

#include "app/recallctl/api.h"
#include "app/recallctl/terminal.h"

namespace recalld::recallctl {

// Polls the session's memory about four times a second and, unless quiet, shows the progress. Returns the last memory
// report. A daemon that goes away and comes back within 30 s is waited for.
Result<boost::json::object> follow_reading(const Api& api, const std::string& session, bool quiet);

}  // namespace recalld::recallctl
