#include "bench/codecs/references.h"

#include <optional>

#include "bench/codecs/gear.h"
#include "bench/codecs/kivi.h"
#include "bench/codecs/kvmerger.h"
#include "bench/codecs/palu.h"

namespace recalld::bench {
namespace {

std::optional<PaluSettings> palu_settings(const std::string& name) {
  for (const int left_out : {50, 30}) {
    const std::string plain = "palu-" + std::to_string(left_out);
    if (name == plain) return PaluSettings{name, left_out / 100.0, 16};
    for (const int bits : {2, 3, 4})
      if (name == plain + "-" + std::to_string(bits)) return PaluSettings{name, left_out / 100.0, bits};
  }
  return std::nullopt;
}

// Those that are the same for all layers; nullptr for other names.
std::shared_ptr<const quant::Codec> make_plain(const std::string& name) {
  for (const int bits : {2, 4}) {
    if (name == "kivi-" + std::to_string(bits)) return std::make_shared<KiviReference>(bits);
    if (name == "gear-" + std::to_string(bits)) return std::make_shared<GearReference>(bits);
  }
  for (const int percent : {50, 35})
    if (name == "kvmerger-" + std::to_string(percent)) return std::make_shared<KvMergerReference>(percent);
  return nullptr;
}

}  // namespace

bool is_reference(const std::string& name) { return make_plain(name) != nullptr || needs_palu_bases(name); }

bool needs_palu_bases(const std::string& name) { return palu_settings(name).has_value(); }

Result<std::vector<std::shared_ptr<const quant::Codec>>> make_references(const std::string& name, size_t n_layers,
                                                                         const PaluBases* bases) {
  if (auto plain = make_plain(name); plain != nullptr) return std::vector(n_layers, std::move(plain));
  const std::optional<PaluSettings> settings = palu_settings(name);
  if (!settings) return invalid_argument("no reference codec is named '" + name + "'");
  if (bases == nullptr || bases->layers.size() != n_layers)
    return failed_precondition("the codec " + name + " needs bases measured on the model");
  std::vector<std::shared_ptr<const quant::Codec>> codecs;
  for (const PaluLayer& layer : bases->layers) codecs.push_back(std::make_shared<PaluReference>(*settings, layer));
  return codecs;
}

}  // namespace recalld::bench
