// Files in RotationZoo's format, as torch.save writes them, byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace recalld::testing {

struct ZooFile {
  int head_dim = 16;
  std::vector<int> layers = {0, 1};
  bool text_ids = false;  // layer ids as text
  int64_t version = 1;
  std::string grouping = "layer";
  std::string number_type = "FloatStorage";
  bool transposed = false;  // the matrix stands column by column, its strides say so
  double scale = 1;         // of the rotations: 1 for orthogonal ones

  // Rotation of a layer: a Hadamard matrix times the signs of the layer's number.
  std::vector<float> rotation(int layer) const;
  std::vector<std::byte> bytes() const;
};

// An archive of stored members. method: of compression, as it claims.
std::vector<std::byte> zip_file(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members,
                                uint16_t method = 0);

}  // namespace recalld::testing
