#include "quant/calibrated.h"

#include <algorithm>
#include <cmath>

#include "kernels/trellis.h"
#include "quant/linear_algebra.h"

namespace recalld::quant {
namespace {

constexpr uint64_t kKeySeed = 0x7265'6361'6c6b'6579u;
constexpr uint64_t kValueSeed = 0x7265'6361'6c76'616cu;

// What is not stored comes back as the mean, no gain.
double distortion(int bits) { return bits == 0 ? 0 : kernels::trellis_error(bits); }

struct Basis {
  Matrix encode, back;  // [d][d]: y = encode x, x^ = back y^
  std::vector<double> gain;
};

Result<Basis> make_basis(int d, const SideMap& map, std::span<const uint8_t> bits, uint64_t seed) {
  const auto n = static_cast<size_t>(d);
  const kernels::SignFlips flips = kernels::sign_flips(seed);
  const kernels::SideFormat format = bits_format(bits);
  Basis basis;
  basis.encode.resize(n * n);
  basis.gain.resize(n);
  int first = 0;
  for (int index = 0; index < format.n_bands; ++index) {
    const kernels::Band& band = format.bands[index];
    double sum = 0;
    for (int i = first; i < first + band.n_dims; ++i)
      sum += std::sqrt(static_cast<double>(map.variances[static_cast<size_t>(i)]));
    const double unit = 1 / std::sqrt(sum / band.n_dims);
    // Column i of the band's Hadamard matrix carries coordinate i.
    std::vector<float> column(static_cast<size_t>(band.n_dims));
    for (int i = 0; i < band.n_dims; ++i) {
      std::ranges::fill(column, 0.0F);
      column[static_cast<size_t>(i)] = 1;
      kernels::reference::hadamard(flips, band.n_dims, 1, column.data(), column.size(), column.data());
      const size_t from = static_cast<size_t>(first) + static_cast<size_t>(i);
      const double scale = unit * std::pow(static_cast<double>(map.variances[from]), -0.25);
      for (int j = 0; j < band.n_dims; ++j) {
        double* to = &basis.encode[static_cast<size_t>(first + j) * n];
        const double factor = scale * column[static_cast<size_t>(j)];
        for (size_t c = 0; c < n; ++c) to[c] += factor * map.forward[from * n + c];
      }
    }
    for (int j = first; j < first + band.n_dims; ++j)
      basis.gain[static_cast<size_t>(j)] = 1 / std::sqrt(1 - distortion(band.bits));
    first += band.n_dims;
  }
  RECALLD_ASSIGN_OR_RETURN(basis.back, inverse(d, basis.encode));
  for (size_t row = 0; row < n; ++row)
    for (size_t i = 0; i < n; ++i) basis.back[row * n + i] *= basis.gain[i];
  return basis;
}

std::vector<float> narrowed(const Matrix& matrix) { return {matrix.begin(), matrix.end()}; }

Result<MatrixMaps> make_maps(int d, const HeadCalibration& head, const LayerBits& bits) {
  RECALLD_ASSIGN_OR_RETURN(const Basis k, make_basis(d, head.k, bits.k, kKeySeed));
  RECALLD_ASSIGN_OR_RETURN(const Basis v, make_basis(d, head.v, bits.v, kValueSeed));
  MatrixMaps maps;
  maps.k_encode = narrowed(transpose(d, k.encode));
  maps.v_encode = narrowed(transpose(d, v.encode));
  maps.k_query = narrowed(k.back);
  maps.v_restore = narrowed(transpose(d, v.back));
  const auto n = static_cast<size_t>(d);
  for (size_t i = 0; i < n; ++i) {
    double mean = 0;
    for (size_t j = 0; j < n; ++j) mean += k.encode[i * n + j] * head.key_mean[j];
    maps.k_mean.push_back(float_to_half(static_cast<float>(mean / k.gain[i])));
    maps.k_offset.push_back(half_to_float(maps.k_mean.back()) * static_cast<float>(k.gain[i]));
  }
  return maps;
}

}  // namespace

Result<std::shared_ptr<const Codec>> make_calibrated(const Calibration& calibration, int layer, const LayerBits& bits,
                                                     const std::string& name) {
  RECALLD_ASSIGN_OR_RETURN(const LayerCalibration* const of_layer, calibration.layer(layer));
  const LayerCalibration& from = *of_layer;
  MatrixCodecOptions options = options_of_layer(calibration, layer, name, kCalibratedId, kCalibratedVersion);
  options.rope = from.rope;
  options.tag.k = bits_format(bits.k);
  options.tag.v = bits_format(bits.v);
  options.tag.k.byte_scales = options.tag.v.byte_scales = true;
  options.tag.k.grid = options.tag.v.grid = kernels::Grid::kTrellis;
  Digester digester;
  add_layer("calibrated", calibration, options, &digester);
  digester.add(std::as_bytes(std::span(bits.k)));
  digester.add(std::as_bytes(std::span(bits.v)));
  options.digest = digester.finish();
  std::vector<MatrixMaps> maps;
  for (const HeadCalibration& head : from.heads) {
    RECALLD_ASSIGN_OR_RETURN(MatrixMaps made, make_maps(from.head_dim, head, bits));
    maps.push_back(std::move(made));
  }
  return std::shared_ptr<const Codec>(std::make_shared<MatrixCodec>(std::move(options), std::move(maps)));
}

Result<std::shared_ptr<const Codec>> make_calibrated(const Calibration& calibration, int layer,
                                                     std::string_view preset) {
  const auto index =
      std::ranges::find_if(kPresets, [&](const Preset& known) { return known.name == preset; }) - kPresets.begin();
  if (index == static_cast<ptrdiff_t>(kPresets.size()) || layer < 0 ||
      static_cast<size_t>(layer) >= calibration.layers.size())
    return invalid_argument("calibrated-" + std::string(preset) + " of layer " + std::to_string(layer) +
                            " does not exist");
  return make_calibrated(calibration, layer,
                         calibration.layers[static_cast<size_t>(layer)].bits[static_cast<size_t>(index)],
                         "calibrated-" + std::string(preset));
}

}  // namespace recalld::quant
