// The reference codecs by name: "kivi-2|4" (kivi.h), "gear-2|4" (gear.h), "palu-50|30", each optionally with "-2|-3|-4"
// (palu.h), and "kvmerger-50|35" (kvmerger.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/codecs/palu_bases.h"
#include "quant/codec.h"

namespace recalld::bench {

bool is_reference(const std::string& name);
// True for those that are made of a model's bases.
bool needs_palu_bases(const std::string& name);

// One codec for each layer of a model. bases: nullptr where none are needed. kInvalidArgument for another name,
// kFailedPrecondition where bases are needed and there are none of so many layers.
Result<std::vector<std::shared_ptr<const quant::Codec>>> make_references(const std::string& name, size_t n_layers,
                                                                         const PaluBases* bases);

}  // namespace recalld::bench
