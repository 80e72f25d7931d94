// What an answer was made from, in words.
#pragma once

#include <boost/json/object.hpp>
#include <string>

#include "app/recallctl/terminal.h"

namespace recalld::recallctl {

// "1.2 s to the first token; 5,180 tokens from memory, 24 read; 14.2 MiB of memory, 40.1 MiB in 16 bits".
std::string recall_line(const boost::json::object& recall);

// "recalled 6 segments, 812 tokens, in 3 ms: #3 biscuit, vet (11 Jan - 24 Jan 2026) and 2 more episodes", the episode
// with the most of the segments; shorter than look.columns; empty for an answer without a session, and of a daemon that
// does not say.
std::string recall_summary(const boost::json::object& recall, const Look& look);

}  // namespace recalld::recallctl
