#include "episodes/segment_vectors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "episodes/unit_vectors.h"

namespace recalld::episodes {
namespace {

std::string text_of(const retrieval::SegmentTurn& turn) {
  return turn.speaker.empty() ? turn.text : turn.speaker + ": " + turn.text;
}

void round_to_half(std::vector<float>& vector) {
  for (float& value : vector) value = half_to_float(float_to_half(value));
}

std::vector<float> vector_from(std::span<const std::byte> bytes) {
  std::vector<float> vector(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < vector.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes.data() + i * sizeof half, sizeof half);
    vector[i] = half_to_float(half);
  }
  return vector;
}

}  // namespace

std::vector<retrieval::SegmentTurn> segment_turns(const retrieval::Segment& segment, std::span<const TurnText> turns) {
  std::vector<retrieval::SegmentTurn> found;
  for (const TurnText& turn : turns) found.push_back({turn.speaker, turn.text, {}, {}});
  if (turns.size() == 1) {
    const size_t name = (turns[0].speaker.empty() ? turns[0].role : turns[0].speaker).size() + 2;
    found[0].text = segment.text.size() > name ? segment.text.substr(name) : std::string();
  }
  return found;
}

SegmentEmbedder::SegmentEmbedder(std::vector<retrieval::SegmentTurn> turns) : turns_(std::move(turns)) {}

size_t SegmentEmbedder::next_bytes() const {
  const retrieval::SegmentTurn& turn = turns_[turn_];
  if (turn.vector.empty()) return turn.speaker.size() + turn.text.size();
  return next_ < sentences_.size() ? sentences_[next_].size() : 0;
}

Status SegmentEmbedder::step(runtime::TextEncoder& encoder) {
  retrieval::SegmentTurn& turn = turns_[turn_];
  if (turn.vector.empty()) {
    RECALLD_ASSIGN_OR_RETURN(turn.vector, encoder.embed(text_of(turn)));
    round_to_half(turn.vector);
    sentences_ = retrieval::split_sentences(turn.text);
    next_ = 0;
    // The only sentence of a turn without a speaker is the turn itself.
    if (sentences_.size() == 1 && sentences_[0] == text_of(turn)) {
      turn.sentences.push_back(turn.vector);
      sentences_.clear();
    }
  } else if (next_ < sentences_.size()) {
    RECALLD_ASSIGN_OR_RETURN(std::vector<float> vector, encoder.embed(sentences_[next_]));
    round_to_half(vector);
    turn.sentences.push_back(std::move(vector));
    ++next_;
  }
  if (next_ >= sentences_.size()) ++turn_;
  return ok_status();
}

std::vector<float> segment_vector(std::span<const retrieval::SegmentTurn> turns, int32_t dim) {
  std::vector<float> sum(static_cast<size_t>(dim), 0.0F);
  for (const retrieval::SegmentTurn& turn : turns)
    for (size_t i = 0; i < std::min(sum.size(), turn.vector.size()); ++i) sum[i] += turn.vector[i];
  normalize(sum);
  return sum;
}

std::vector<std::byte> pack_vectors(std::span<const retrieval::SegmentTurn> turns) {
  std::vector<uint32_t> numbers{static_cast<uint32_t>(turns.size())};
  std::vector<uint16_t> halves;
  const auto add = [&](const std::vector<float>& vector) {
    for (const float value : vector) halves.push_back(float_to_half(value));
  };
  for (const retrieval::SegmentTurn& turn : turns) {
    numbers.push_back(static_cast<uint32_t>(turn.sentences.size()));
    add(turn.vector);
    for (const std::vector<float>& sentence : turn.sentences) add(sentence);
  }
  const std::span<const std::byte> head = std::as_bytes(std::span(numbers)), tail = std::as_bytes(std::span(halves));
  std::vector<std::byte> bytes(head.size() + tail.size());
  std::ranges::copy(tail, std::ranges::copy(head, bytes.begin()).out);
  return bytes;
}

Result<std::vector<retrieval::SegmentTurn>> unpack_vectors(std::span<const std::byte> bytes, int32_t dim) {
  const Status wrong = corrupt("the stored vectors of a segment's turns have a wrong length");
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at * sizeof value, sizeof value);
    return size_t{value};
  };
  const size_t n_numbers = bytes.size() / sizeof(uint32_t);
  if (n_numbers == 0 || number(0) >= n_numbers) return wrong;
  const size_t n_turns = number(0), width = static_cast<size_t>(dim) * sizeof(uint16_t);
  size_t n_vectors = n_turns, at = (1 + n_turns) * sizeof(uint32_t);
  for (size_t i = 1; i <= n_turns; ++i) n_vectors += number(i);
  if ((bytes.size() - at) % width != 0 || (bytes.size() - at) / width != n_vectors) return wrong;
  std::vector<retrieval::SegmentTurn> turns(n_turns);
  const auto next = [&] {
    at += width;
    return vector_from(bytes.subspan(at - width, width));
  };
  for (size_t i = 0; i < n_turns; ++i) {
    turns[i].vector = next();
    for (size_t left = number(i + 1); left > 0; --left) turns[i].sentences.push_back(next());
  }
  return turns;
}

}  // namespace recalld::episodes
