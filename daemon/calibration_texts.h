// Texts that a calibration is made from (episodes/calibration/calibrate.h), as the model reads them.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace recalld::daemon {

// What is built in: data/sample_prose.txt, data/sample_conversation.ndjson with its dates and speakers, and
// data/sample_mixed.txt.
Result<std::vector<std::string>> builtin_calibration_texts();

// A file: a conversation (NDJSON of messages, or LoCoMo's JSON) as a plain transcript, anything else as it is.
// kNotFound when it cannot be read.
Result<std::string> read_calibration_text(const std::string& path);

// Where a calibration of a model (by fingerprint) lies unless a setting says otherwise.
std::string calibration_path(const std::string& data_dir, const Digest128& model);

}  // namespace recalld::daemon
