#include "bench/recall/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "bench/recall/table.h"

namespace recalld::bench {
namespace {

constexpr double kWidth = 760, kHeight = 420, kLeft = 60, kRight = 20, kTop = 40, kBottom = 50;
constexpr double kLabelHeight = 12;

std::string number(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return buffer.data();
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" " + style + "/>\n";
}

std::string words(double x, double y, const std::string& text, const std::string& style = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + style + ">" + text + "</text>\n";
}

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
    std::string svg =
        words(kLeft, top_ + 20, model_.file + ": recovery against bytes touched by a question", "font-weight=\"bold\"");
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
      svg += line(x(share), top_ + kTop, x(share), bottom, grid);
      const std::string label = share >= 1 ? number(share) : "1/" + std::to_string(std::lround(1 / share));
      svg += words(x(share), bottom + 16, label, R"(text-anchor="middle")");
    }
    for (double tick = std::ceil(low_ * 2) / 2; tick <= high_; tick += 0.5) {
      svg += line(kLeft, y(tick), kWidth - kRight, y(tick), std::abs(tick - 1) < 1e-9 ? R"(stroke="#888")" : grid);
      svg += words(kLeft - 6, y(tick) + 4, number(tick), R"(text-anchor="end")");
    }
    svg += words((kLeft + kWidth - kRight) / 2, bottom + 36,
                 "bytes touched, share of the whole history's cache in 16 bits", R"(text-anchor="middle")");
    const std::string middle = number(top_ + kHeight / 2);
    return svg + words(16, top_ + kHeight / 2, "recovery (1 = " + model_.reference + ")",
                       "text-anchor=\"middle\" transform=\"rotate(-90 16 " + middle + ")\"");
  }

  // Labels stand right of their points (left near the right edge), moved down where they would lie on one another.
  std::string points() const {
    std::vector<const ArmSummary*> from_top = arms_;
    std::stable_sort(from_top.begin(), from_top.end(),
                     [](const ArmSummary* a, const ArmSummary* b) { return *a->recovery > *b->recovery; });
    struct Label {
      double x, y;
    };
    std::vector<Label> placed;
    std::string svg;
    for (const ArmSummary* arm : from_top) {
      const bool own = arm->name == "ours";
      const double px = x(arm->touched_share), py = y(*arm->recovery);
      const std::string colour = own ? "#c0392b" : "#2c5aa0";
      svg += line(px, y(arm->recovery_questions.low), px, y(arm->recovery_questions.high),
                  "stroke=\"" + colour + "\" stroke-opacity=\"0.35\"");
      svg += "<circle cx=\"" + number(px) + "\" cy=\"" + number(py) + "\" r=\"4\" fill=\"" + colour + "\"/>\n";
      Label label{px, py + 4};
      for (bool moved = true; moved;) {
        moved = false;
        for (const Label& other : placed)
          if (std::abs(other.x - label.x) < 130 && std::abs(other.y - label.y) < kLabelHeight) {
            label.y = other.y + kLabelHeight;
            moved = true;
          }
      }
      placed.push_back(label);
      const bool at_edge = px > kWidth - 150;
      svg += words(px + (at_edge ? -8 : 8), label.y, arm_title(*arm),
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
  const double height = kHeight * static_cast<double>(models.size());
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(kWidth) + "\" height=\"" +
                    number(height) + "\" font-family=\"sans-serif\" font-size=\"11\">\n" +
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (size_t i = 0; i < models.size(); ++i) svg += Panel(models[i], kHeight * static_cast<double>(i)).draw();
  return svg + "</svg>\n";
}

}  // namespace recalld::bench
