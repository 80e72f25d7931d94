#include "quant/codec.h"

#include <algorithm>

#include "quant/calibrated.h"
#include "quant/none16.h"
#include "quant/oscar.h"
#include "quant/split_turboquant.h"
#include "quant/turboquant.h"

namespace recalld::quant {
namespace {

constexpr std::string_view kCalibrated = "calibrated-", kTurboQuant = "turboquant-";
constexpr struct { int k_bits, v_bits; } kWidths[] = {{4, 4}, {3, 3}, {2, 2}, {4, 3}, {4, 2}, {3, 2}};

std::vector<std::shared_ptr<const Codec>> all_codecs() {
  std::vector<std::shared_ptr<const Codec>> codecs{std::make_shared<None16>()};
  for (const kernels::Grid grid : {kernels::Grid::kLloydMax, kernels::Grid::kTrellis})
    for (const bool centred : {true, false})
      for (const auto& [k_bits, v_bits] : kWidths)
        codecs.push_back(std::make_shared<TurboQuant>(grid, k_bits, v_bits, centred));
  return codecs;
}

// name: of calibrated_codec_names().
Result<std::shared_ptr<const Codec>> make_of_calibration(std::string_view name, const Calibration& calibration,
                                                         int layer) {
  if (name == "oscar-2") return make_oscar(calibration, layer);
  if (name.starts_with(kCalibrated)) return make_calibrated(calibration, layer, name.substr(kCalibrated.size()));
  return make_split_turboquant(calibration, layer, name.substr(kTurboQuant.size()));
}

}  // namespace

Result<std::shared_ptr<const Codec>> make_codec(std::string_view name) {
  std::string known;
  for (auto& codec : all_codecs()) {
    if (codec->name() == name) return codec;
    known += (known.empty() ? "" : ", ") + codec->name();
  }
  return invalid_argument("no codec is named '" + std::string(name) + "'; there are: " + known);
}

Result<std::shared_ptr<const Codec>> codec_for(const CodecTag& tag) {
  if (tag.id == kTurboQuantId || tag.id == kTrellisId) {
    const auto grid = tag.id == kTrellisId ? kernels::Grid::kTrellis : kernels::Grid::kLloydMax;
    for (const auto& [k_bits, v_bits] : kWidths) {
      auto codec = std::make_shared<TurboQuant>(grid, k_bits, v_bits, (tag.flags & kFlagCentred) != 0, tag.parameter);
      if (codec->tag() == tag) return std::shared_ptr<const Codec>(std::move(codec));
    }
  }
  if (tag == None16().tag()) return std::shared_ptr<const Codec>(std::make_shared<None16>());
  return unsupported("page codec " + std::to_string(tag.id) + " version " + std::to_string(tag.version) + " with " +
                     describe(tag.k) + " on keys and " + describe(tag.v) +
                     " on values is unknown to this version; rebuild the memory from the transcript or run the "
                     "version that wrote it");
}

std::vector<std::string> codec_names() {
  std::vector<std::string> names;
  for (const auto& codec : all_codecs()) names.push_back(codec->name());
  return names;
}

std::vector<std::string> calibrated_codec_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.push_back(std::string(kCalibrated) + preset.name);
  names.insert(names.end(), {"turboquant-2.5", "turboquant-3.5", "oscar-2"});
  return names;
}

bool needs_calibration(std::string_view name) {
  const std::vector<std::string> names = calibrated_codec_names();
  return std::ranges::find(names, name) != names.end();
}

Status check_codec_name(std::string_view name) {
  if (needs_calibration(name)) return ok_status();
  const Status status = make_codec(name).status();
  if (status.ok()) return status;
  std::string message = status.message();
  for (const std::string& more : calibrated_codec_names()) message += ", " + more;
  return invalid_argument(message);
}

Result<std::vector<std::shared_ptr<const Codec>>> make_codecs(std::string_view name, size_t n_layers,
                                                              const Calibration* calibration) {
  RECALLD_RETURN_IF_ERROR(check_codec_name(name));
  if (!needs_calibration(name)) {
    RECALLD_ASSIGN_OR_RETURN(const auto codec, make_codec(name));
    return std::vector(n_layers, codec);
  }
  if (calibration == nullptr)
    return failed_precondition("the codec " + std::string(name) +
                               " needs a calibration of the model; make one with: recallctl calibrate MODEL");
  if (calibration->layers.size() != n_layers)
    return invalid_argument("a calibration of " + std::to_string(calibration->layers.size()) +
                            " layers for a model of " + std::to_string(n_layers));
  std::vector<std::shared_ptr<const Codec>> codecs;
  for (size_t layer = 0; layer < n_layers; ++layer) {
    RECALLD_ASSIGN_OR_RETURN(auto codec, make_of_calibration(name, *calibration, static_cast<int>(layer)));
    codecs.push_back(std::move(codec));
  }
  return codecs;
}

}  // namespace recalld::quant
