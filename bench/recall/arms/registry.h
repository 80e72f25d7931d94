// All arms by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/recall/arms/arm.h"
#include "bench/recall/arms/our_arm.h"

namespace recalld::bench {

struct ArmOptions {
  std::vector<int> budgets{512, 1024};  // tokens in the view of the arms that choose; entries kept per KV head
  uint64_t seed = 1;
  std::vector<OurOptions> ours{{}};  // one arm each; the first is also what text_rag chooses by
  std::string encoder;               // GGUF of the text encoder
  std::string calibration;           // text that layers' budgets are measured on
  std::string calibrations;          // folder of codecs' calibrations, see OurOptions
  std::string folder;                // for what is measured once per model
};

// "full, none, ..." in the order of tables.
const std::vector<std::string>& arm_names();

// Fresh arms for one conversation, in the order of tables; an arm with a budget once for each. full and none come first
// whether named or not: the others are measured against them. kInvalidArgument, listing the known names, for others.
Result<std::vector<std::unique_ptr<Arm>>> make_arms(const std::vector<std::string>& names, const ArmOptions& options);

}  // namespace recalld::bench
