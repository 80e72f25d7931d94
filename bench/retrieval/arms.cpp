#include "bench/retrieval/arms.h"

#include <utility>

namespace recalld::bench {
namespace {

retrieval::RankingOptions bare() {
  retrieval::RankingOptions options;
  options.dense_near[0] = options.dense_near[1] = options.lexical_near[0] = options.lexical_near[1] = 0;
  options.after_question = options.speaker = options.time = options.when = options.episode = 0;
  return options;
}

}  // namespace

std::vector<Arm> plain_arms() {
  Arm dense{"dense", bare(), false}, bm25{"bm25", bare(), false}, fusion{"fusion", bare(), false};
  dense.options.lexical = 0;
  bm25.options.dense = 0;
  fusion.options.dense_near[0] = fusion.options.lexical_near[0] = 0.35;
  return {dense, bm25, fusion, {"ours", {}}};
}

std::vector<Arm> ablated_arms() {
  std::vector<Arm> arms;
  const auto less = [&](const std::string& what) -> Arm& {
    arms.push_back({"ours_less_" + what, {}});
    return arms.back();
  };
  less("sentences").sentences = false;
  less("dense").options.dense = 0;
  less("lexical").options.lexical = 0;
  retrieval::RankingOptions& near = less("neighbours").options;
  near.dense_near[0] = near.dense_near[1] = near.lexical_near[0] = near.lexical_near[1] = 0;
  less("after_question").options.after_question = 0;
  less("speaker").options.speaker = 0;
  less("time").options.time = 0;
  less("when").options.when = 0;
  return arms;
}

}  // namespace recalld::bench
