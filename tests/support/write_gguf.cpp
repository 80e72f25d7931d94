// usage: write_gguf FILE HEAD_DIM SEED: a small synthetic model (synthetic_gguf.h), for tests that are no C++ programs.
#include <iostream>

#include "tests/support/synthetic_gguf.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: write_gguf FILE HEAD_DIM SEED\n";
    return 2;
  }
  recalld::testing::SyntheticModel model;
  model.head_dim = std::stoi(argv[2]);
  model.seed = static_cast<uint32_t>(std::stoul(argv[3]));
  model.n_ctx = 4096;
  const recalld::Status status = recalld::testing::write_synthetic_gguf(model, argv[1]);
  if (!status.ok()) std::cerr << status.to_string() << "\n";
  return status.ok() ? 0 : 1;
}
