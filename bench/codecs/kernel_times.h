// Time of coding one vector and of attending to one key, ours and ggml's taking turns in one process, one thread.
#pragma once

#include <string>
#include <vector>

namespace recalld::bench {

struct KernelShape {
  int n_kv_heads = 3;
  int n_group = 3;
  int head_dim = 64;
  int n_keys = 4096;
  int page_tokens = 64;
  int repeats = 15;
};

struct KernelTimes {
  std::string name;      // of a codec or of a ggml type
  double encode_ns = 0;  // per vector of head_dim numbers, keys and values averaged
  double attend_ns = 0;  // per key of one KV head, with its value, for all query heads of the group
};

// codecs: names for quant::make_codec. ggml's types follow them in the result. Medians over the repeats.
std::vector<KernelTimes> measure_kernels(const KernelShape& shape, const std::vector<std::string>& codecs);

}  // namespace recalld::bench
