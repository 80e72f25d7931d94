#include "episodes/policies/policies.h"

namespace recalld::episodes {

std::vector<std::string> policy_names() {
  return {"none", "streamingllm", "h2o", "snapkv", "kvzip", "keydiff", "epicache"};
}

Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, const runtime::Tokenizer& tokenizer,
                                                    const PolicySettings& settings) {
  if (name == "none") return make_none();
  if (name == "keydiff") return make_keydiff();
  if (name == "streamingllm") {
    if (settings.streamingllm.sinks < 0) return invalid_argument("streamingllm: sinks must be 0 or more");
    return make_streamingllm(settings.streamingllm);
  }
  if (name == "h2o") {
    if (!(settings.h2o.recent_share >= 0 && settings.h2o.recent_share <= 1))
      return invalid_argument("h2o: the recent share must be from 0 to 1");
    return make_h2o(settings.h2o);
  }
  if (name == "snapkv") {
    if (settings.snapkv.window < 1) return invalid_argument("snapkv: the window must be 1 token or more");
    if (settings.snapkv.pooling_width < 1 || settings.snapkv.pooling_width % 2 == 0)
      return invalid_argument("snapkv: the pooling width must be odd");
    return make_snapkv(settings.snapkv);
  }
  if (name == "kvzip") {
    KvzipOptions options = settings.kvzip;
    if (options.instruction.empty()) options.instruction = tokenizer.tokenize(kRepeatInstruction);
    return make_kvzip(std::move(options));
  }
  if (name == "epicache") {
    if (settings.epicache.prompt.empty()) return invalid_argument("epicache: an episode needs a prompt");
    return make_epicache(settings.epicache);
  }
  std::string known;
  for (const std::string& each : policy_names()) known += (known.empty() ? "" : ", ") + each;
  return invalid_argument("unknown eviction policy '" + std::string(name) + "'; known are " + known);
}

}  // namespace recalld::episodes
