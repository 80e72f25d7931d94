#include "bench/svg.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace recalld::bench {

std::string svg_number(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return buffer.data();
}

std::string svg_line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + svg_number(x1) + "\" y1=\"" + svg_number(y1) + "\" x2=\"" + svg_number(x2) + "\" y2=\"" +
         svg_number(y2) + "\" " + style + "/>\n";
}

std::string svg_text(double x, double y, const std::string& text, const std::string& style) {
  return "<text x=\"" + svg_number(x) + "\" y=\"" + svg_number(y) + "\" " + style + ">" + text + "</text>\n";
}

std::string svg_dot(double x, double y, const std::string& colour) {
  return "<circle cx=\"" + svg_number(x) + "\" cy=\"" + svg_number(y) + "\" r=\"4\" fill=\"" + colour + "\"/>\n";
}

SvgLabel place_label(double x, double y, double width, double height, std::vector<SvgLabel>* placed) {
  // Each move goes down by more than this, whatever is rounded.
  constexpr double kSlack = 0.5;
  SvgLabel label{x, y};
  for (bool moved = true; moved;) {
    moved = false;
    for (const SvgLabel& other : *placed)
      if (std::abs(other.x - label.x) < width && std::abs(other.y - label.y) < height - kSlack) {
        label.y = other.y + height;
        moved = true;
      }
  }
  placed->push_back(label);
  return label;
}

std::string svg_document(double width, double height, const std::string& body) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + svg_number(width) + "\" height=\"" +
         svg_number(height) + "\" font-family=\"sans-serif\" font-size=\"11\">\n" +
         "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" + body + "</svg>\n";
}

}  // namespace recalld::bench
