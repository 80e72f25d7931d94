// Made-up segments: unit vectors around a few directions, with texts about made-up topics.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "retrieval/segment.h"

namespace recalld::episodes {

struct SyntheticSegments {
  int32_t dim = 0;
  std::vector<retrieval::Segment> segments;
  std::vector<float> units;     // [n, dim]
  std::vector<int32_t> topics;  // [n], which direction each is near

  std::span<const float> unit(size_t i) const {
    return std::span(units).subspan(i * static_cast<size_t>(dim), static_cast<size_t>(dim));
  }
  size_t size() const { return segments.size(); }
};

inline std::vector<float> random_unit(std::mt19937& random, int32_t dim) {
  std::normal_distribution<float> normal;
  std::vector<float> unit(static_cast<size_t>(dim));
  double squares = 0;
  for (float& value : unit) {
    value = normal(random);
    squares += static_cast<double>(value) * value;
  }
  for (float& value : unit) value = static_cast<float>(value / std::sqrt(squares));
  return unit;
}

// spread: length of the random part beside the topic's direction; 0.75 gives a cosine of 0.8 to it. A talk stays with a
// topic for a few segments, then moves on.
inline SyntheticSegments synthetic_segments(size_t n, int32_t n_topics, int32_t dim, float spread, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<float>> directions;
  for (int32_t i = 0; i < n_topics; ++i) directions.push_back(random_unit(random, dim));
  SyntheticSegments all;
  all.dim = dim;
  int32_t topic = 0;
  for (size_t i = 0; i < n; ++i) {
    if (random() % 3 == 0) topic = static_cast<int32_t>(random() % static_cast<uint32_t>(n_topics));
    const std::vector<float> noise = random_unit(random, dim);
    std::vector<float> unit(static_cast<size_t>(dim));
    double squares = 0;
    for (size_t at = 0; at < unit.size(); ++at) {
      unit[at] = directions[static_cast<size_t>(topic)][at] + spread * noise[at];
      squares += static_cast<double>(unit[at]) * unit[at];
    }
    for (const float value : unit) all.units.push_back(static_cast<float>(value / std::sqrt(squares)));
    all.topics.push_back(topic);
    retrieval::Segment segment;
    segment.first_turn = static_cast<int64_t>(2 * i);
    segment.n_turns = 2;
    segment.token_first = static_cast<int64_t>(50 * i);
    segment.n_tokens = 50;
    if (i % 3 != 0) segment.first_ms = segment.last_ms = 1'700'000'000'000 + static_cast<int64_t>(i) * 60'000;
    segment.text = "Ann: subject" + std::to_string(topic) + " and word" + std::to_string(random() % 50) +
                   "\nBob: talking of matter" + std::to_string(topic);
    all.segments.push_back(std::move(segment));
  }
  return all;
}

}  // namespace recalld::episodes
