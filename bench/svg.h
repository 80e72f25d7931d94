// Pieces of an SVG drawing. Text is written as it is given: no markup in it.
#pragma once

#include <string>
#include <vector>

namespace recalld::bench {

// With one decimal.
std::string svg_number(double value);

// style: attributes.
std::string svg_line(double x1, double y1, double x2, double y2, const std::string& style);
std::string svg_text(double x, double y, const std::string& text, const std::string& style = "");
std::string svg_dot(double x, double y, const std::string& colour);

struct SvgLabel {
  double x = 0, y = 0;
};

// Where a label may stand: at (x, y), or further down where it would lie on one of those placed before, which it joins.
// width, height: of every label.
SvgLabel place_label(double x, double y, double width, double height, std::vector<SvgLabel>* placed);

// The drawing on a white ground.
std::string svg_document(double width, double height, const std::string& body);

}  // namespace recalld::bench
