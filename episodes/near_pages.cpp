#include "episodes/near_pages.h"

#include <algorithm>
#include <string>

namespace recalld::episodes {
namespace {

constexpr std::string_view kPlain = "none16";
constexpr int32_t kCodedNearTokens = 384;

}  // namespace

std::string_view default_near_codec(std::string_view codec) {
  const bool wide =
      codec == kPlain || codec.find("-4") != std::string_view::npos || codec.find("-k4") != std::string_view::npos;
  return wide ? kPlain : "turboquant-4";
}

Status set_near_pages(std::string_view codec, std::string_view near_codec, int32_t near_tokens, TrunkOptions* options) {
  if (near_codec.empty()) near_codec = default_near_codec(codec);
  if (quant::needs_calibration(near_codec))
    return invalid_argument("young pages cannot be " + std::string(near_codec) +
                            ", which needs a calibration; take none16 or one of turboquant's");
  RECALLD_ASSIGN_OR_RETURN(const auto near, quant::make_codec(near_codec));
  const bool plain = near_codec == kPlain;
  options->near_plan.layers.clear();
  if (!plain) options->near_plan.layers.assign(options->plan.layers.size(), near);
  options->near_tokens = near_tokens > 0 ? near_tokens : plain ? options->recent_tokens : kCodedNearTokens;
  return ok_status();
}

}  // namespace recalld::episodes
