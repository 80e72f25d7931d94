// What the harness is asked to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/recall/arms/registry.h"

namespace recalld::bench {

struct Options {
  std::string data;
  std::vector<std::string> models;  // paths of GGUFs
  std::string split = "tuning";     // tuning, test, all
  std::vector<std::string> tuning_ids{"conv-26", "conv-30"};
  int64_t prefix = 6500;
  bool whole = false;
  bool captions = false;
  std::vector<std::string> arms;
  std::vector<int> budgets{512, 1024};
  std::vector<int> categories{1, 2, 4};
  int limit = 0;
  bool answers = false;
  int answer_tokens = 16;
  int threads = 1;
  uint64_t seed = 1;
  int resamples = 2000;
  std::vector<std::string> redo;
  bool plan = false;
  std::string out;
  std::vector<OurOptions> ours{{}};
  std::string encoder;       // GGUF
  std::string calibration;   // text file
  std::string calibrations;  // folder of FINGERPRINT.rcal
};

// Fills *options. False when the program should end at once with *exit_code (help was asked for, or an option is
// wrong).
bool read_options(int argc, char** argv, Options* options, int* exit_code);

// What the arms need of it.
ArmOptions arm_options(const Options& options);

// True when a conversation belongs to the split.
bool in_split(const Options& options, const std::string& id);

// "prefix 6500", "whole": what of a conversation is remembered.
std::string setting_name(const Options& options);

}  // namespace recalld::bench
