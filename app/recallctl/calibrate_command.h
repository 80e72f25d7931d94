// recallctl calibrate: the one command that runs a model itself instead of asking the daemon.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace recalld::recallctl {

struct CalibrateOptions {
  std::string model;               // GGUF
  std::vector<std::string> texts;  // files; empty: what is built in
  // The file to write; with a slash at its end, the folder of FINGERPRINT.rcal. Empty: where the daemon looks for it.
  std::string out;
  bool keep = false;  // a file that is there and is this model's
  // OSCAR's published rotations of the model, of keys and of values (quant/rotation_zoo.h); empty: measured.
  std::vector<std::string> oscar_rotations;
  int threads = 1;
  int max_tokens = 12288;
};

// Shows its progress on standard error and prints the file's name.
Status calibrate_command(const CalibrateOptions& options);

}  // namespace recalld::recallctl
