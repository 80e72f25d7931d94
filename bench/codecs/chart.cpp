#include "bench/codecs/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "bench/svg.h"

namespace recalld::bench {
namespace {

constexpr double kWidth = 760, kHeight = 420, kLeft = 60, kRight = 20, kTop = 40, kBottom = 50;
constexpr double kLabelWidth = 110, kLabelHeight = 12;

template <typename... Values>
std::string row(const char* format, Values... values) {
  std::array<char, 256> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, values...);
  return buffer.data();
}

bool is_ours(const std::string& name) { return name.starts_with("calibrated-") || name.starts_with("archive-"); }

class Panel {
 public:
  Panel(const QualityRun& run, double top) : run_(run), top_(top) {
    for (size_t i = 1; i < run.caches.size(); ++i) {
      const Quality& cache = run.caches[i];
      if (!(cache.kl > 0)) continue;
      drawn_.push_back(&cache);
      low_ = std::min(low_, std::log10(cache.kl));
      high_ = std::max(high_, std::log10(cache.kl));
      most_bits_ = std::max(most_bits_, cache.bits);
    }
    low_ = std::floor(low_);
    high_ = std::ceil(high_);
  }

  std::string draw() const {
    return svg_text(kLeft, top_ + 20, run_.model + ", " + run_.text + ": KL against bits", "font-weight=\"bold\"") +
           axes() + front() + points();
  }

 private:
  double x(double bits) const { return kLeft + (kWidth - kLeft - kRight) * bits / (most_bits_ * 1.1); }
  double y(double kl) const {
    return top_ + kHeight - kBottom - (kHeight - kTop - kBottom) * (std::log10(kl) - low_) / (high_ - low_);
  }

  std::string axes() const {
    std::string svg;
    const std::string grid = R"(stroke="#ddd")";
    const double bottom = top_ + kHeight - kBottom;
    for (int bits = 0; bits <= most_bits_ * 1.1; ++bits) {
      svg += svg_line(x(bits), top_ + kTop, x(bits), bottom, grid);
      svg += svg_text(x(bits), bottom + 16, std::to_string(bits), R"(text-anchor="middle")");
    }
    for (double power = low_; power <= high_; power += 1) {
      const double kl = std::pow(10.0, power);
      svg += svg_line(kLeft, y(kl), kWidth - kRight, y(kl), grid);
      svg += svg_text(kLeft - 6, y(kl) + 4, row("%g", kl), R"(text-anchor="end")");
    }
    return svg + svg_text((kLeft + kWidth - kRight) / 2, bottom + 36, "bits per number, all included",
                          R"(text-anchor="middle")");
  }

  std::string front() const {
    std::string svg;
    const std::vector<size_t> best = pareto_front(run_.caches);
    for (size_t i = 1; i < best.size(); ++i) {
      const Quality &from = run_.caches[best[i - 1]], &to = run_.caches[best[i]];
      if (from.kl > 0 && to.kl > 0)
        svg += svg_line(x(from.bits), y(from.kl), x(to.bits), y(to.kl), R"(stroke="#c0392b" stroke-opacity="0.4")");
    }
    return svg;
  }

  // Labels stand right of their points, moved down where they would lie on one another.
  std::string points() const {
    std::vector<const Quality*> from_top = drawn_;
    std::ranges::stable_sort(from_top, [](const Quality* a, const Quality* b) { return a->kl > b->kl; });
    std::vector<SvgLabel> placed;
    std::string svg;
    for (const Quality* cache : from_top) {
      const std::string colour = is_ours(cache->name) ? "#c0392b" : "#2c5aa0";
      const double px = x(cache->bits), py = y(cache->kl);
      svg += svg_dot(px, py, colour);
      const SvgLabel label = place_label(px, py + 4, kLabelWidth, kLabelHeight, &placed);
      svg += svg_text(label.x + 8, label.y, cache->name, "fill=\"" + colour + "\"");
    }
    return svg;
  }

  const QualityRun& run_;
  double top_;
  std::vector<const Quality*> drawn_;
  double low_ = -3, high_ = -1, most_bits_ = 1;
};

}  // namespace

std::string quality_markdown(std::span<const QualityRun> runs) {
  std::string text;
  for (const QualityRun& run : runs) {
    text += "**" + run.model + ", " + run.text + "** -- " + std::to_string(run.n_tokens) + " tokens\n\n" +
            "| cache | bits per number | bits, full pages alone | KL | perplexity | same first choice |\n" +
            "|---|---|---|---|---|---|\n";
    for (const Quality& cache : run.caches)
      text += "| " + cache.name +
              row(" | %.2f | %.2f | %.4f | %.3f | %.3f |\n", cache.bits, cache.bits_pages, cache.kl, cache.perplexity,
                  cache.top1);
    text += "\n";
  }
  return text;
}

std::vector<size_t> pareto_front(std::span<const Quality> caches) {
  if (caches.empty()) return {};
  std::vector<size_t> order(caches.size() - 1);
  std::iota(order.begin(), order.end(), size_t{1});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return std::pair(caches[a].bits, caches[a].kl) < std::pair(caches[b].bits, caches[b].kl);
  });
  std::vector<size_t> front;
  for (const size_t i : order)
    if (front.empty() || caches[i].kl < caches[front.back()].kl) front.push_back(i);
  return front;
}

std::string quality_plot(std::span<const QualityRun> runs) {
  std::string body;
  for (size_t i = 0; i < runs.size(); ++i) body += Panel(runs[i], kHeight * static_cast<double>(i)).draw();
  return svg_document(kWidth, kHeight * static_cast<double>(runs.size()), body);
}

}  // namespace recalld::bench
