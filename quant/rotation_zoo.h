// Rotations as OSCAR's authors publish them (RotationZoo: `k_rotation_qqt_r_h_pbr.pt` and `v_rotation_sst_r_h_pbr.pt`
// of a model): what torch.save writes of
//   {format_version: 1, objective, source_grouping: "layer", layers: {id: {layer_id, rotation: f32 [d][d],
//    eigenvalues: f32 [d]}}}
// with layer ids as integers or as text. One file is for keys, one for values; a row x is coded as x times the rotation
// (quant/oscar.h). Nothing of a file is run.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quant/calibration.h"

namespace recalld::quant {

struct ZooRotations {
  struct Layer {
    int32_t head_dim = 0;
    std::vector<float> rotation;  // [head_dim][head_dim]
  };
  std::string objective;  // "qqt_r_h_pbr"; may be empty
  std::map<int, Layer> layers;
};

// kCorrupt, naming what is wrong: cut, altered, a matrix that is not square, not orthogonal to 1 %, or of a head_dim
// that no page can have. kUnsupported for another version, grouping, number type or byte order.
Result<ZooRotations> parse_rotations(std::span<const std::byte> bytes);

// kNotFound for a file that cannot be read.
Result<ZooRotations> load_rotations(const std::string& path);

// The calibration with these for OSCAR's rotations, and `origin` after the names of its texts; a new one, with a digest
// of its own. kFailedPrecondition, naming the layer, when one is missing or of another head_dim.
Result<std::shared_ptr<const Calibration>> with_rotations(const Calibration& calibration, const ZooRotations& k,
                                                          const ZooRotations& v, const std::string& origin);

}  // namespace recalld::quant
