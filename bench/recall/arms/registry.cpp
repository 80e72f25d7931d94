#include "bench/recall/arms/registry.h"

#include <algorithm>
#include <functional>

#include "bench/recall/arms/page_arms.h"
#include "bench/recall/arms/policy_arms.h"
#include "bench/recall/arms/streaming_arm.h"
#include "bench/recall/arms/text_arms.h"

namespace recalld::bench {
namespace {

// One arm for each of ArmOptions::ours, unlike the entries below.
constexpr const char* kOurs = "ours";

struct Entry {
  std::string name;
  bool budgeted = false;
  std::function<std::unique_ptr<Arm>(int budget, const ArmOptions& options)> make;
};

Entry policy(const std::string& name) {
  return {name, true, [name](int budget, const ArmOptions&) { return make_policy_arm(name, budget); }};
}

Entry epicache(const std::string& name, int episodes) {
  return {name, true, [name, episodes](int budget, const ArmOptions& options) {
            return make_epicache_arm(name, budget,
                                     {.episodes = episodes,
                                      .encoder = options.encoder,
                                      .calibration = options.calibration,
                                      .folder = options.folder});
          }};
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {"full", false, [](int, const ArmOptions&) { return make_full(); }},
      {"none", false, [](int, const ArmOptions&) { return make_none(); }},
      {"evidence_text", false, [](int, const ArmOptions&) { return make_evidence_text(); }},
      {"evidence_pages", false, [](int, const ArmOptions&) { return make_evidence_pages(); }},
      {"last", true, [](int budget, const ArmOptions&) { return make_last(budget); }},
      {"random", true, [](int budget, const ArmOptions& options) { return make_random(budget, options.seed); }},
      {"text_rag", true,
       [](int budget, const ArmOptions& options) {
         OurOptions ours = options.ours.empty() ? OurOptions{} : options.ours.front();
         ours.encoder = options.encoder;
         return make_text_rag(budget, ours);
       }},
      {"streamingllm", true, [](int budget, const ArmOptions&) { return make_streaming_arm(budget); }},
      policy("h2o"),
      policy("snapkv"),
      policy("kvzip"),
      policy("keydiff"),
      epicache("epicache", 4),
      epicache("epicache_one", 1),
  };
  return all;
}

}  // namespace

const std::vector<std::string>& arm_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const Entry& entry : entries()) found.push_back(entry.name);
    found.emplace_back(kOurs);
    return found;
  }();
  return names;
}

Result<std::vector<std::unique_ptr<Arm>>> make_arms(const std::vector<std::string>& names, const ArmOptions& options) {
  for (const std::string& name : names) {
    if (std::find(arm_names().begin(), arm_names().end(), name) != arm_names().end()) continue;
    std::string known;
    for (const std::string& other : arm_names()) known += (known.empty() ? "" : ", ") + other;
    return invalid_argument("no arm named '" + name + "'; there are " + known);
  }
  std::vector<std::unique_ptr<Arm>> arms;
  for (const Entry& entry : entries()) {
    const bool named = std::find(names.begin(), names.end(), entry.name) != names.end();
    if (!named && entry.name != "full" && entry.name != "none") continue;
    if (!entry.budgeted) arms.push_back(entry.make(0, options));
    for (const int budget : entry.budgeted ? options.budgets : std::vector<int>{})
      arms.push_back(entry.make(budget, options));
  }
  if (std::find(names.begin(), names.end(), kOurs) != names.end())
    for (OurOptions ours : options.ours)
      for (const int budget : options.budgets) {
        ours.encoder = options.encoder;
        ours.calibrations = options.calibrations;
        arms.push_back(make_our_arm(budget, ours));
      }
  return arms;
}

}  // namespace recalld::bench
