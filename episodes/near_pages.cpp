#include "episodes/near_pages.h"

namespace recalld::episodes {
namespace {

constexpr std::string_view kPlain = "none16";
constexpr int32_t kCodedNearTokens = 384;

}  // namespace

NearPages near_pages(std::string_view codec, std::string_view near_codec, int32_t near_tokens, int32_t recent_tokens) {
  const bool wide =
      codec == kPlain || codec.find("-4") != std::string_view::npos || codec.find("-k4") != std::string_view::npos;
  if (near_codec.empty()) near_codec = wide ? kPlain : "trellis-4";
  const int32_t usual = near_codec == kPlain ? recent_tokens : kCodedNearTokens;
  return {std::string(near_codec), near_tokens > 0 ? near_tokens : usual};
}

Status set_near_pages(const NearPages& near, TrunkOptions* options) {
  if (quant::needs_calibration(near.codec))
    return invalid_argument("young pages cannot be " + near.codec +
                            ", which needs a calibration; take none16 or one of trellis or turboquant");
  RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_codec(near.codec));
  options->near_plan.layers.clear();
  if (near.codec != kPlain) options->near_plan.layers.assign(options->plan.layers.size(), codec);
  options->near_tokens = near.tokens;
  return ok_status();
}

}  // namespace recalld::episodes
