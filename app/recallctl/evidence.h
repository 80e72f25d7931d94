// The messages that an answer was given because of its question: the segments of its recall object, with their text
// from the transcript.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "app/recallctl/api.h"
#include "app/recallctl/terminal.h"

namespace recalld::recallctl {

struct Evidence {
  boost::json::object segment;  // as in the recall object
  boost::json::array turns;     // as in the transcript
};

// In the recall's order. A request to the daemon for each segment.
Result<std::vector<Evidence>> fetch_evidence(const Api& api, const boost::json::object& recall);

// A line for each segment: when, who, in which episode, and the first words of the turn that has most of the question's
// words (the first turn, when none has any). One line that says so when there is no evidence.
std::string evidence_text(const std::vector<Evidence>& evidence, const Look& look);
// [{"segment":{...},"turns":[...]},...]
boost::json::array evidence_json(const std::vector<Evidence>& evidence);

}  // namespace recalld::recallctl
