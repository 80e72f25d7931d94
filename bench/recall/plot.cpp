#include "bench/recall/plot.h"

#include <algorithm>
#include <cmath>

#include "bench/recall/table.h"
#include "bench/svg.h"

namespace recalld::bench {
namespace {

constexpr double kWidth = 760, kHeight = 420, kLeft = 60, kRight = 20, kTop = 40, kBottom = 50;
constexpr double kLabelWidth = 130, kLabelHeight = 12;

class Panel {
 public:
  Panel(const ModelSummary& model, double top) : model_(model), top_(top) {
    for (const ArmSummary& arm : model.arms)
      if (arm.recovery.has_value() && arm.touched_share > 0) arms_.push_back(&arm);
    for (const ArmSummary* arm : arms_) {
      least_share_ = std::min(least_share_, arm->touched_share);
      most_share_ = std::max(most_share_, arm->touched_share);
      low_ = std::min(low_, *arm->recovery - 0.1);
      high_ = std::max(high_, *arm->recovery + 0.3);
    }
    least_share_ = std::pow(2.0, std::floor(std::log2(least_share_)));
    most_share_ = std::pow(2.0, std::ceil(std::log2(most_share_)));
  }

  std::string draw() const {
    std::string svg = svg_text(kLeft, top_ + 20, model_.file + ": recovery against bytes touched by a question",
                               "font-weight=\"bold\"");
    return svg + axes() + points();
  }

 private:
  double x(double share) const {
    return kLeft + (kWidth - kLeft - kRight) * (std::log(share) - std::log(least_share_)) /
                       (std::log(most_share_) - std::log(least_share_));
  }
  double y(double recovery) const {
    const double inside = std::clamp(recovery, low_, high_);
    return top_ + kHeight - kBottom - (kHeight - kTop - kBottom) * (inside - low_) / (high_ - low_);
  }

  std::string axes() const {
    std::string svg;
    const std::string grid = R"(stroke="#ddd")";
    const double bottom = top_ + kHeight - kBottom;
    for (double share = least_share_; share <= most_share_ * 1.01; share *= 2) {
      svg += svg_line(x(share), top_ + kTop, x(share), bottom, grid);
      const std::string label = share >= 1 ? svg_number(share) : "1/" + std::to_string(std::lround(1 / share));
      svg += svg_text(x(share), bottom + 16, label, R"(text-anchor="middle")");
    }
    for (double tick = std::ceil(low_ * 2) / 2; tick <= high_; tick += 0.5) {
      svg += svg_line(kLeft, y(tick), kWidth - kRight, y(tick), std::abs(tick - 1) < 1e-9 ? R"(stroke="#888")" : grid);
      svg += svg_text(kLeft - 6, y(tick) + 4, svg_number(tick), R"(text-anchor="end")");
    }
    svg += svg_text((kLeft + kWidth - kRight) / 2, bottom + 36,
                    "bytes touched, share of the whole history's cache in 16 bits", R"(text-anchor="middle")");
    const std::string middle = svg_number(top_ + kHeight / 2);
    return svg + svg_text(16, top_ + kHeight / 2, "recovery (1 = " + model_.reference + ")",
                          "text-anchor=\"middle\" transform=\"rotate(-90 16 " + middle + ")\"");
  }

  // Labels stand right of their points (left near the right edge), moved down where they would lie on one another.
  std::string points() const {
    std::vector<const ArmSummary*> from_top = arms_;
    std::stable_sort(from_top.begin(), from_top.end(),
                     [](const ArmSummary* a, const ArmSummary* b) { return *a->recovery > *b->recovery; });
    std::vector<SvgLabel> placed;
    std::string svg;
    for (const ArmSummary* arm : from_top) {
      const bool own = arm->name == "ours";
      const double px = x(arm->touched_share), py = y(*arm->recovery);
      const std::string colour = own ? "#c0392b" : "#2c5aa0";
      svg += svg_line(px, y(arm->recovery_questions.low), px, y(arm->recovery_questions.high),
                      "stroke=\"" + colour + "\" stroke-opacity=\"0.35\"");
      svg += svg_dot(px, py, colour);
      const SvgLabel label = place_label(px, py + 4, kLabelWidth, kLabelHeight, &placed);
      const bool at_edge = px > kWidth - 150;
      svg += svg_text(px + (at_edge ? -8 : 8), label.y, arm_title(*arm),
                      "fill=\"" + colour + "\"" + (at_edge ? " text-anchor=\"end\"" : ""));
    }
    return svg;
  }

  const ModelSummary& model_;
  double top_;
  std::vector<const ArmSummary*> arms_;
  double least_share_ = 1, most_share_ = 1, low_ = -0.1, high_ = 1.2;
};

}  // namespace

std::string svg_plot(const std::vector<ModelSummary>& models) {
  std::string body;
  for (size_t i = 0; i < models.size(); ++i) body += Panel(models[i], kHeight * static_cast<double>(i)).draw();
  return svg_document(kWidth, kHeight * static_cast<double>(models.size()), body);
}

}  // namespace recalld::bench
