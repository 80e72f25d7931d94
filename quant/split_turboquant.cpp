#include "quant/split_turboquant.h"

#include <algorithm>
#include <numeric>

#include "quant/turboquant.h"

namespace recalld::quant {
namespace {

constexpr uint64_t kValueSeed = kTurboQuantSeed ^ 0x5654'5654'5654'5654u;

// [d][d], orthogonal: outlier channels first, both parts in the order of the channels, each transformed by itself.
std::vector<float> split_map(int d, const std::vector<float>& energy, uint64_t seed) {
  const auto n = static_cast<size_t>(d), outliers = static_cast<size_t>(outlier_channels(d));
  std::vector<size_t> channels(n);
  std::iota(channels.begin(), channels.end(), size_t{0});
  std::ranges::stable_sort(channels, std::greater<>(), [&](size_t channel) { return energy[channel]; });
  const auto cut = channels.begin() + static_cast<ptrdiff_t>(outliers);
  std::sort(channels.begin(), cut);
  std::sort(cut, channels.end());
  const kernels::SignFlips flips = kernels::sign_flips(seed);
  std::vector<float> map(n * n), column(n);
  for (size_t at = 0; at < n; ++at) {
    const size_t first = at < outliers ? 0 : outliers, end = at < outliers ? outliers : n;
    std::ranges::fill(column, 0.0F);
    column[at] = 1;
    kernels::reference::hadamard(flips, static_cast<int>(end - first), 1, &column[first], n, &column[first]);
    for (size_t row = first; row < end; ++row) map[row * n + channels[at]] = column[row];
  }
  return map;
}

kernels::SideFormat split_format(int d, int bits) {
  kernels::SideFormat format;
  const int outliers = outlier_channels(d);
  format.n_bands = 2;
  format.scale_per_band = true;
  format.bands[0] = {static_cast<int16_t>(bits + 1), static_cast<int16_t>(outliers)};
  format.bands[1] = {static_cast<int16_t>(bits), static_cast<int16_t>(d - outliers)};
  return format;
}

}  // namespace

int outlier_channels(int head_dim) { return std::max(1, (head_dim / 4 + 8) / 16) * 16; }

Result<std::shared_ptr<const Codec>> make_split_turboquant(const Calibration& calibration, int layer,
                                                           std::string_view width) {
  RECALLD_ASSIGN_OR_RETURN(const LayerCalibration* const from, calibration.layer(layer));
  const std::string name = "turboquant-" + std::string(width);
  if (width != "2.5" && width != "3.5") return invalid_argument(name + " does not exist");
  const int d = from->head_dim;
  if (d < 32) return unsupported(name + " needs a head_dim of 32 or more, not " + std::to_string(d));
  const int bits = width == "2.5" ? 2 : 3;
  MatrixCodecOptions options = options_of_layer(calibration, layer, name, kSplitTurboQuantId);
  options.k_rule = kernels::ScaleRule::kMatched;
  options.v_rule = kernels::ScaleRule::kUnbiased;
  options.tag.k = split_format(d, bits);
  options.tag.v = options.tag.k;
  options.tag.flags = kFlagCentred;
  Digester digester;
  add_layer("turboquant-split", calibration, options, &digester);
  digester.add(static_cast<uint64_t>(bits));
  options.digest = digester.finish();
  std::vector<MatrixMaps> maps;
  for (const HeadCalibration& head : from->heads) {
    MatrixMaps& map = maps.emplace_back();
    const std::vector<float> v = split_map(d, head.v_energy, kValueSeed);
    map.k_encode = transposed(d, split_map(d, head.k_energy, kTurboQuantSeed));
    map.k_query = map.k_encode;
    map.v_encode = transposed(d, v);
    map.v_restore = v;
  }
  return std::shared_ptr<const Codec>(std::make_shared<MatrixCodec>(std::move(options), std::move(maps)));
}

}  // namespace recalld::quant
