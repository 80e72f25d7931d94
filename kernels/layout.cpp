#include "kernels/layout.h"

#include <stdexcept>
#include <string>

#include "kernels/trellis.h"

namespace recalld::kernels {
namespace {

constexpr size_t kBlockBytes = 64;

// Where one code lies: `low` holds its bits below the third at `low_shift`; for 3 bits the third is bit `high_shift` of
// byte `high`.
struct CodePlace {
  size_t low = 0;
  int low_shift = 0;
  size_t high = 0;
  int high_shift = 0;
};

// Both sides are blocks of 16 lanes of 4 bytes and differ in which of token and dim is the lane; a byte holds the codes
// of one place in each of the block's groups of 4 ("quads") along the other axis.
CodePlace place_in_block(int bits, size_t block, int quad_in_block, int lane, int byte) {
  CodePlace place;
  place.low = block * kBlockBytes + static_cast<size_t>(lane * 4 + byte);
  place.low_shift = quad_in_block * (bits == 4 ? 4 : 2);
  return place;
}

void place_high_bit(CodePlace& place, int padded, int head_dim, size_t mask, int lane, int byte) {
  const int bit = lane * 4 + byte;
  place.high = side_bytes(padded, head_dim, 2) + mask * 8 + static_cast<size_t>(bit / 8);
  place.high_shift = bit % 8;
}

CodePlace place_k(int padded, int head_dim, int bits, int token, int dim) {
  const int span = bits == 4 ? 8 : 16;
  const size_t group = static_cast<size_t>(token / kTokenGroup);
  const size_t block = group * static_cast<size_t>(head_dim / span) + static_cast<size_t>(dim / span);
  CodePlace place = place_in_block(bits, block, dim % span / 4, token % kTokenGroup, dim % 4);
  if (bits == 3) {
    const size_t mask = group * static_cast<size_t>(head_dim / 4) + static_cast<size_t>(dim / 4);
    place_high_bit(place, padded, head_dim, mask, token % kTokenGroup, dim % 4);
  }
  return place;
}

CodePlace place_v(int padded, int head_dim, int bits, int token, int dim) {
  const int span = bits == 4 ? 8 : 16;
  const size_t chunks = static_cast<size_t>(head_dim / 16);
  const size_t chunk = static_cast<size_t>(dim / 16);
  const size_t block = static_cast<size_t>(token / span) * chunks + chunk;
  CodePlace place = place_in_block(bits, block, token % span / 4, dim % 16, token % 4);
  if (bits == 3)
    place_high_bit(place, padded, head_dim, static_cast<size_t>(token / 4) * chunks + chunk, dim % 16, token % 4);
  return place;
}

int get_code(const uint8_t* codes, const CodePlace& place, int bits) {
  if (bits == 4) return codes[place.low] >> place.low_shift & 15;
  int code = codes[place.low] >> place.low_shift & 3;
  if (bits == 3) code |= (codes[place.high] >> place.high_shift & 1) << 2;
  return code;
}

void set_code(uint8_t* codes, const CodePlace& place, int bits, int code) {
  const int low = bits == 4 ? code : code & 3;
  codes[place.low] = static_cast<uint8_t>(codes[place.low] | low << place.low_shift);
  if (bits == 3) codes[place.high] = static_cast<uint8_t>(codes[place.high] | (code >> 2 & 1) << place.high_shift);
}

// A code of a band, by the place of its band in the side.
struct InBand {
  size_t offset = 0;
  int bits = 0, n_dims = 0, dim = 0;
};

InBand find_band(const SideFormat& format, int padded, int dim) {
  int band = 0;
  BandPlace place;
  while (dim >= place.first_dim + format.bands[band].n_dims) place = band_place(format, padded, ++band);
  return {place.code_offset, format.bands[band].bits, format.bands[band].n_dims, dim - place.first_dim};
}

// Levels alone. upper: the non-negative half of them, ascending. The unit is the one of least distortion for N(0,1)
// among those that put the exact levels' nearest integers at these.
template <int n>
constexpr Codebook antisymmetric_levels(int bits, float unit, const int (&upper)[n]) {
  Codebook book;
  book.bits = bits;
  book.unit = unit;
  for (int i = 0; i < n; ++i) {
    book.levels[n + i] = static_cast<int8_t>(upper[i]);
    book.levels[n - 1 - i] = static_cast<int8_t>(-upper[i]);
  }
  return book;
}

// Between the values of two levels.
constexpr float midpoint(const Codebook& book, int one, int other) {
  return 0.5F * static_cast<float>(book.levels[one] + book.levels[other]) * book.unit;
}

template <int n>
constexpr Codebook antisymmetric(int bits, float unit, const int (&upper)[n]) {
  Codebook book = antisymmetric_levels(bits, unit, upper);
  for (int i = 0; i + 1 < 2 * n; ++i) book.boundaries[i] = midpoint(book, i, i + 1);
  return book;
}

// With the boundaries of each subset of a trellis.
template <int n>
constexpr Codebook of_trellis(int bits, float unit, const int (&upper)[n]) {
  Codebook book = antisymmetric_levels(bits, unit, upper);
  for (int subset = 0; subset < kTrellisSubsets; ++subset)
    for (int rank = subset; rank + kTrellisSubsets < 2 * n; rank += kTrellisSubsets)
      book.boundaries[7 * subset + rank / kTrellisSubsets] = midpoint(book, rank, rank + kTrellisSubsets);
  return book;
}

const Codebook& of_width(const Codebook (&books)[3], int bits) {
  if (bits < 2 || bits > 4) throw std::invalid_argument("no codebook of " + std::to_string(bits) + " bits");
  return books[bits - 2];
}

}  // namespace

std::string format_error(const SideFormat& format, int head_dim) {
  if (format.n_bands < 0 || format.n_bands > kMaxBands)
    return "number of bands is " + std::to_string(format.n_bands) + ", expected 0..4";
  for (int band = format.n_bands; band < kMaxBands; ++band)
    if (format.bands[band] != Band()) return "band " + std::to_string(band + 1) + " stands after the last";
  if (format.grid != Grid::kLloydMax && format.grid != Grid::kUniform && format.grid != Grid::kTrellis)
    return "grid is " + std::to_string(static_cast<int>(format.grid)) + ", expected 0, 1 or 2";
  if (format.offsets && format.grid != Grid::kUniform) return "offsets stand without the uniform grid";
  if (format.grid == Grid::kUniform && format.n_bands != 1)
    return "the uniform grid has " + std::to_string(format.n_bands) + " bands, expected 1";
  if (format.byte_scales && (format.halves() || format.grid == Grid::kUniform))
    return "scales of 8 bits stand without codes of the Lloyd-Max grid or the trellis";
  if (format.scale_per_band && format.grid == Grid::kTrellis) return "scales per band stand on the trellis grid";
  if (format.grid == Grid::kTrellis && format.halves()) return "the trellis grid stands without codes";
  if (format.scale_per_band && format.stored_bands() < 2) return "scales per band stand with fewer than 2 stored bands";
  int dims = 0;
  for (int band = 0; band < format.n_bands; ++band) {
    const auto [bits, n_dims] = format.bands[band];
    const std::string name = " of band " + std::to_string(band + 1);
    const bool last = band + 1 == format.n_bands;
    const bool may_be_left_out = last && band > 0;
    if ((bits < 2 || bits > 4) && !(bits == 0 && may_be_left_out))
      return "bits" + name + " are " + std::to_string(bits) + ", expected 4, 3 or 2" +
             (may_be_left_out ? ", or 0 for a band that is not stored" : "");
    const int left = head_dim - dims;
    const bool rest = n_dims == kAllDims && last && bits != 0;
    if (!rest && (n_dims < 16 || n_dims % 16 != 0))
      return "dims" + name + " are " + std::to_string(n_dims) + ", expected a multiple of 16";
    if (rest ? left < 16 : n_dims > left) return "dims" + name + " go beyond head_dim " + std::to_string(head_dim);
    dims += rest ? left : n_dims;
  }
  if (format.n_bands > 0 && dims != head_dim)
    return "dims of the bands add up to " + std::to_string(dims) + ", expected " + std::to_string(head_dim);
  return "";
}

int get_k_code(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim) {
  const InBand at = find_band(format, padded, dim);
  return get_code(codes + at.offset, place_k(padded, at.n_dims, at.bits, token, at.dim), at.bits);
}

int get_v_code(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim) {
  const InBand at = find_band(format, padded, dim);
  return get_code(codes + at.offset, place_v(padded, at.n_dims, at.bits, token, at.dim), at.bits);
}

void set_k_code(uint8_t* codes, int padded, const SideFormat& format, int token, int dim, int code) {
  const InBand at = find_band(format, padded, dim);
  set_code(codes + at.offset, place_k(padded, at.n_dims, at.bits, token, at.dim), at.bits, code);
}

void set_v_code(uint8_t* codes, int padded, const SideFormat& format, int token, int dim, int code) {
  const InBand at = find_band(format, padded, dim);
  set_code(codes + at.offset, place_v(padded, at.n_dims, at.bits, token, at.dim), at.bits, code);
}

namespace {

// The rank of a number of dim `dim` whose codes get(dim) gives.
template <class Get>
int rank_of(const SideFormat& format, int dim, const Get& get) {
  if (format.grid != Grid::kTrellis) return get(dim);
  const auto path = [&](int at) { return at < 0 ? 0 : trellis_path(get(at), format.bands[band_of(format, at)].bits); };
  int state = 0;
  for (int at = dim - kTrellisMemory; at < dim; ++at) state = next_trellis_state(state, path(at));
  const int bits = format.bands[band_of(format, dim)].bits;
  return trellis_rank(get(dim), bits, state);
}

}  // namespace

int get_k_rank(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim) {
  return rank_of(format, dim, [&](int at) { return get_k_code(codes, padded, format, token, at); });
}

int get_v_rank(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim) {
  return rank_of(format, dim, [&](int at) { return get_v_code(codes, padded, format, token, at); });
}

const Codebook& lloyd_max(int bits) {
  static constexpr Codebook kBooks[] = {antisymmetric(2, 0.011894241F, {38, 127}),
                                        antisymmetric(3, 0.016990204F, {14, 44, 79, 127}),
                                        antisymmetric(4, 0.021419629F, {6, 18, 31, 44, 59, 76, 97, 127})};
  return of_width(kBooks, bits);
}

const Codebook& uniform_grid(int bits) {
  static constexpr Codebook kBooks[] = {antisymmetric(2, 0.5F, {1, 3}), antisymmetric(3, 0.5F, {1, 3, 5, 7}),
                                        antisymmetric(4, 0.5F, {1, 3, 5, 7, 9, 11, 13, 15})};
  return of_width(kBooks, bits);
}

const Codebook& trellis_grid(int bits) {
  static constexpr Codebook kBooks[] = {
      of_trellis(2, 0.014940410F, {13, 40, 72, 125}), of_trellis(3, 0.020230722F, {5, 16, 27, 39, 52, 68, 90, 124}),
      of_trellis(4, 0.025255804F, {2, 7, 12, 17, 22, 27, 32, 38, 44, 50, 57, 65, 74, 86, 101, 124})};
  return of_width(kBooks, bits);
}

const Codebook& codebook(Grid grid, int bits) {
  if (grid == Grid::kTrellis) return trellis_grid(bits);
  return grid == Grid::kUniform ? uniform_grid(bits) : lloyd_max(bits);
}

}  // namespace recalld::kernels
