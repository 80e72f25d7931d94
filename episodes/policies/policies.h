// Eviction policies by name: "none", "streamingllm", "h2o", "snapkv", "kvzip", "keydiff", "epicache".
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "episodes/policies/epicache.h"
#include "episodes/policies/h2o.h"
#include "episodes/policies/keydiff.h"
#include "episodes/policies/kvzip.h"
#include "episodes/policies/none.h"
#include "episodes/policies/snapkv.h"
#include "episodes/policies/streamingllm.h"

namespace recalld::episodes {

struct PolicySettings {
  StreamingLlmOptions streamingllm;
  H2oOptions h2o;
  SnapKvOptions snapkv;
  KvzipOptions kvzip;        // an empty instruction stands for kRepeatInstruction
  EpiCacheOptions epicache;  // of one episode
};

std::vector<std::string> policy_names();

// kInvalidArgument for an unknown name (listing the known ones), options out of range, and epicache without a prompt.
Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, const runtime::Tokenizer& tokenizer,
                                                    const PolicySettings& settings = {});

}  // namespace recalld::episodes
