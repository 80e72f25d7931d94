#include "quant/rans.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace recalld::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "streams are little endian");

// States lie in [kLow, kLow << 16).
constexpr uint32_t kLow = 1U << 16;
constexpr uint32_t kSlotMask = kRansScale - 1;

uint16_t read_word(const std::byte* at) {
  uint16_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Undoes the coding of one symbol; the state may be below kLow afterwards.
inline uint32_t step(const RansTable& table, uint32_t& state) {
  const uint32_t slot = state & kSlotMask;
  const uint32_t symbol = table.symbols[slot];
  const RansTable::Range range = table.ranges[symbol];
  state = range.frequency * (state >> kRansScaleBits) + slot - range.first;
  return symbol;
}

void fill_slots(RansTable& table) {
  uint32_t first = 0;
  for (size_t symbol = 0; symbol < kRansMaxSymbols; ++symbol) {
    table.ranges[symbol].first = static_cast<uint16_t>(first);
    std::fill_n(table.symbols.begin() + first, table.ranges[symbol].frequency, static_cast<uint8_t>(symbol));
    first += table.ranges[symbol].frequency;
  }
}

}  // namespace

size_t RansTable::n_symbols() const {
  size_t n = kRansMaxSymbols;
  while (n > 0 && ranges[n - 1].frequency == 0) --n;
  return n;
}

RansTable RansTable::of_counts(std::span<const uint32_t> counts) {
  if (counts.size() > kRansMaxSymbols) throw std::invalid_argument("RansTable: more than 64 symbols");
  RansTable table;
  const uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (total == 0) table.ranges[0].frequency = kRansScale;
  std::vector<std::pair<uint64_t, size_t>> order;  // of the symbols that occur: what rounding down took from them
  uint64_t sum = 0;
  for (size_t i = 0; total > 0 && i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const uint64_t scaled = uint64_t{counts[i]} * kRansScale;
    const uint64_t frequency = std::max<uint64_t>(scaled / total, 1);
    table.ranges[i].frequency = static_cast<uint16_t>(frequency);
    order.emplace_back(scaled < total ? 0 : scaled % total, i);
    sum += frequency;
  }
  const auto descending = [](const auto& a, const auto& b) { return a.first > b.first; };
  std::ranges::stable_sort(order, descending);
  for (size_t i = 0; total > 0 && sum < kRansScale; i = (i + 1) % order.size(), ++sum)
    ++table.ranges[order[i].second].frequency;
  // What the rarest were given above their share is taken from the most frequent.
  while (sum > kRansScale) {
    const auto most = std::ranges::max_element(table.ranges, {}, &Range::frequency);
    --most->frequency;
    --sum;
  }
  fill_slots(table);
  return table;
}

Result<RansTable> RansTable::of_frequencies(std::span<const uint16_t> frequencies) {
  RansTable table;
  uint32_t sum = 0;
  for (size_t i = 0; i < frequencies.size() && i < kRansMaxSymbols; ++i) {
    table.ranges[i].frequency = frequencies[i];
    sum += frequencies[i];
  }
  if (frequencies.size() > kRansMaxSymbols || sum != kRansScale)
    return corrupt("frequencies of symbols that add up to " + std::to_string(sum) + ", expected " +
                   std::to_string(kRansScale));
  fill_slots(table);
  return table;
}

void RansEncoder::put_bits(uint32_t value, int n_bits) {
  if (n_bits == 0) return;
  const uint32_t width = kRansScale >> n_bits;
  ranges_.push_back({static_cast<uint16_t>(width), static_cast<uint16_t>((value & ((1U << n_bits) - 1)) * width)});
}

void RansEncoder::finish(std::vector<std::byte>& out) const {
  std::array<uint32_t, kRansStates> states;
  states.fill(kLow);
  std::vector<uint16_t> words;
  for (size_t i = ranges_.size(); i-- > 0;) {
    uint32_t& state = states[i % kRansStates];
    const auto [frequency, first] = ranges_[i];
    if (state >= uint64_t{frequency} << (32 - kRansScaleBits)) {
      words.push_back(static_cast<uint16_t>(state));
      state >>= 16;
    }
    state = (state / frequency << kRansScaleBits) + state % frequency + first;
  }
  std::ranges::reverse(words);
  const auto append = [&out](auto bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
  append(std::as_bytes(std::span(states)));
  append(std::as_bytes(std::span(words)));
}

RansDecoder::RansDecoder(std::span<const std::byte> stream) : at_(stream.data()), end_(stream.data() + stream.size()) {
  states_.fill(kLow);
  if (stream.size() < sizeof states_) {
    overrun_ = true;
    at_ = end_;
    return;
  }
  std::memcpy(states_.data(), at_, sizeof states_);
  at_ += sizeof states_;
}

uint32_t RansDecoder::next_word() {
  if (end_ - at_ < static_cast<ptrdiff_t>(sizeof(uint16_t))) {
    overrun_ = true;
    return 0;
  }
  const uint32_t word = read_word(at_);
  at_ += sizeof(uint16_t);
  return word;
}

void RansDecoder::renormalise(uint32_t& state) {
  if (state < kLow) state = state << 16 | next_word();
}

uint32_t RansDecoder::get(const RansTable& table) {
  uint32_t& state = states_[turn_++ % kRansStates];
  const uint32_t symbol = step(table, state);
  renormalise(state);
  return symbol;
}

uint32_t RansDecoder::get_bits(int n_bits) {
  if (n_bits == 0) return 0;
  uint32_t& state = states_[turn_++ % kRansStates];
  const int left = kRansScaleBits - n_bits;
  const uint32_t slot = state & kSlotMask;
  state = (state >> kRansScaleBits << left) + (slot & ((1U << left) - 1));
  renormalise(state);
  return slot >> left;
}

void RansDecoder::get_row(const RansTable* tables, const uint8_t* which, uint8_t* symbols, int n) {
  // In locals, the one whose turn it is first: the compiler keeps them in registers.
  const size_t turn = turn_ % kRansStates;
  uint32_t a = states_[turn], b = states_[(turn + 1) % kRansStates], c = states_[(turn + 2) % kRansStates],
           d = states_[(turn + 3) % kRansStates];
  const std::byte* at = at_;
  const auto take = [&at](uint32_t& state) {
    const bool low = state < kLow;
    const uint32_t filled = state << 16 | read_word(at);
    state = low ? filled : state;
    at += low ? sizeof(uint16_t) : 0;
  };
  // Four symbols take at most four words.
  int i = 0;
  for (; i < n && end_ - at >= static_cast<ptrdiff_t>(kRansStates * sizeof(uint16_t)); i += 4) {
    symbols[i] = static_cast<uint8_t>(step(tables[which[i]], a));
    symbols[i + 1] = static_cast<uint8_t>(step(tables[which[i + 1]], b));
    symbols[i + 2] = static_cast<uint8_t>(step(tables[which[i + 2]], c));
    symbols[i + 3] = static_cast<uint8_t>(step(tables[which[i + 3]], d));
    take(a);
    take(b);
    take(c);
    take(d);
  }
  at_ = at;
  states_[turn] = a;
  states_[(turn + 1) % kRansStates] = b;
  states_[(turn + 2) % kRansStates] = c;
  states_[(turn + 3) % kRansStates] = d;
  for (; i < n; ++i) symbols[i] = static_cast<uint8_t>(get(tables[which[i]]));
}

bool RansDecoder::finish() const {
  return !overrun_ && at_ == end_ && std::ranges::all_of(states_, [](uint32_t state) { return state == kLow; });
}

}  // namespace recalld::quant
