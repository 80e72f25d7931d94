// One attention problem both sides are timed on: n_queries tokens at the end of `depth` tokens, in several layers.
#pragma once

namespace recalld::bench {

struct Problem {
  int head_dim = 64;
  int n_heads = 9;
  int n_kv_heads = 3;
  int depth = 4096;  // keys, the queries' own included
  int n_queries = 1;
  int n_layers = 1;  // different K and V each, taken in turn
};

}  // namespace recalld::bench
