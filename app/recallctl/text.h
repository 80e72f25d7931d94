// Numbers and tables as a person reads them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace recalld::recallctl {

// "812 B", "14.2 KiB", "3.1 MiB".
std::string bytes_text(int64_t bytes);
// "5,180".
std::string count_text(int64_t count);
// "45 s", "3 min 10 s", "2 h 5 min"; "?" when not finite or negative.
std::string duration_text(double seconds);
// "2026-05-08 13:56" UTC, of RFC 3339 text or Unix milliseconds.
std::string time_text(int64_t unix_ms);

// Columns to display width of the longest cell, two spaces between, a header line first. Widths count UTF-8 characters.
std::string table_text(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

// "[=====>    ] 52 %  2,690/5,180 tokens  310 tokens/s  8 s left", at most `columns` characters.
std::string progress_text(int64_t done, int64_t total, double per_second, int columns);

// Without the spaces at its end.
std::string without_trailing_spaces(std::string text);

// Control characters (except newline and tab) replaced, so that an answer cannot drive the terminal.
std::string printable(const std::string& text);

}  // namespace recalld::recallctl
