// Pieces of an SVG drawing. Text is written as it is given: no markup in it.
#pragma once

#include <string>

namespace recalld::bench {

// With one decimal.
std::string svg_number(double value);

// style: attributes.
std::string svg_line(double x1, double y1, double x2, double y2, const std::string& style);
std::string svg_text(double x, double y, const std::string& text, const std::string& style = "");
std::string svg_dot(double x, double y, const std::string& colour);

// The drawing on a white ground.
std::string svg_document(double width, double height, const std::string& body);

}  // namespace recalld::bench
