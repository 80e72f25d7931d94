#include "quant/codec.h"

#include "quant/none16.h"
#include "quant/turboquant.h"

namespace recalld::quant {
namespace {

constexpr struct { int k_bits, v_bits; } kWidths[] = {{4, 4}, {3, 3}, {2, 2}, {4, 3}, {4, 2}, {3, 2}};

std::vector<std::shared_ptr<const Codec>> all_codecs() {
  std::vector<std::shared_ptr<const Codec>> codecs{std::make_shared<None16>()};
  for (const bool centred : {true, false})
    for (const auto& [k_bits, v_bits] : kWidths)
      codecs.push_back(std::make_shared<TurboQuant>(k_bits, v_bits, centred));
  return codecs;
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
  if (tag.id == kTurboQuantId && tag.version == 1) {
    for (const auto& [k_bits, v_bits] : kWidths) {
      if (tag.k != kernels::one_band(k_bits) || tag.v != kernels::one_band(v_bits)) continue;
      if ((tag.flags & ~kFlagCentred) != 0) continue;
      return std::shared_ptr<const Codec>(
          std::make_shared<TurboQuant>(k_bits, v_bits, (tag.flags & kFlagCentred) != 0, tag.parameter));
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

}  // namespace recalld::quant
