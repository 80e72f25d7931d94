// Cells, bars and dates for what recallctl draws in a terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "app/recallctl/terminal.h"

namespace recalld::recallctl {

// Columns that UTF-8 text takes: wide characters take two, combining ones none.
int display_columns(const std::string& text);

// The text in one line, control characters replaced, cut to `columns` with an ellipsis and filled up with spaces.
std::string cell(const std::string& text, int columns, const Look& look);
// The same at the right edge; never cut.
std::string right_cell(const std::string& text, int columns);

// A bar of `part` (0 to 1) of `columns`; anything above 0 shows. Not filled up.
std::string bar_text(double part, int columns, const Look& look);

// "11 Jan 2026", "11 Jan - 24 Jan 2026", "30 Dec 2025 - 2 Jan 2026" (UTC); "no date" when unknown.
std::string span_text(const std::optional<int64_t>& first_ms, const std::optional<int64_t>& last_ms);

}  // namespace recalld::recallctl
