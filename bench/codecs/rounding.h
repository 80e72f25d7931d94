// Equal steps from the least to the greatest number of a group, scale and zero point as halves: the quantizer that
// KIVI, GEAR and Palu share. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recalld::bench {

inline constexpr size_t kGroupBytes = 4;  // scale and zero point

float through_half(float value);

// count numbers, `stride` apart, become what their codes stand for. skip: as the numbers; marked ones neither count nor
// change. nullptr for none.
void round_group(float* values, size_t stride, size_t count, int bits, const uint8_t* skip = nullptr);

// x: [n_tokens][width]. Every channel is cut into groups of `group` tokens; the last may be short.
void round_channels(size_t n_tokens, size_t width, size_t group, int bits, float* x, const uint8_t* skip = nullptr);

// x: n_rows rows of `width`, one after the other. Every row is cut into groups of `group` channels; the last may be
// short.
void round_rows(size_t n_rows, size_t width, size_t group, int bits, float* x, const uint8_t* skip = nullptr);

// Of n codes.
constexpr size_t code_bytes(size_t n, int bits) { return (n * static_cast<size_t>(bits) + 7) / 8; }

constexpr size_t groups_of(size_t n, size_t group) { return (n + group - 1) / group; }

}  // namespace recalld::bench
