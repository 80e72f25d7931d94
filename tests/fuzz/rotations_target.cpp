// Published rotations: archive, pickle, matrices.
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "quant/pickle.h"
#include "quant/rotation_zoo.h"
#include "quant/stored_zip.h"
#include "tests/fuzz/exact_buffer.h"
#include "tests/fuzz/targets.h"
#include "tests/quant/zoo_file.h"

namespace recalld::testing {
namespace {

constexpr size_t kMaxBytes = 8192;
constexpr const char* kPickle = "zoo/data.pkl";

Bytes pickle_of(const ZooFile& file) {
  const Bytes archive = file.bytes();
  const auto members = quant::stored_members(archive).value();
  const std::span<const std::byte> pickle = members.at(kPickle);
  return {pickle.begin(), pickle.end()};
}

std::vector<Bytes> seeds() {
  const std::vector<ZooFile> files = {
      {}, {.layers = {0}, .text_ids = true}, {.layers = {3, 1}, .transposed = true}, {.head_dim = 32, .layers = {2}}};
  std::vector<Bytes> all;
  for (const ZooFile& file : files) {
    all.push_back(file.bytes());
    all.push_back(pickle_of(file));
  }
  return all;
}

// An archive with this pickle: its checksum is right, whatever it is.
Bytes archive_with(std::span<const std::byte> pickle) {
  static const Bytes numbers = [] {
    Bytes raw;
    for (const float number : ZooFile().rotation(1)) {
      std::byte of_number[sizeof number];
      std::memcpy(of_number, &number, sizeof number);
      raw.insert(raw.end(), of_number, of_number + sizeof number);
    }
    return raw;
  }();
  return zip_file({{kPickle, {pickle.begin(), pickle.end()}},
                   {"zoo/data/0", numbers},
                   {"zoo/data/2", numbers},
                   {"zoo/data/1", {numbers.begin(), numbers.begin() + 64}}});
}

bool are_rotations(std::span<const std::byte> bytes) {
  ExactBuffer copy(bytes);
  const auto rotations = quant::parse_rotations(copy.span());
  if (!rotations.ok()) return false;
  for (const auto& [id, layer] : rotations->layers)
    for (const float number : layer.rotation)
      if (!std::isfinite(number)) throw std::logic_error("a rotation is read that is none");
  return true;
}

// An archive, or a pickle that one is made around.
bool read(std::span<const std::byte> bytes) {
  if (are_rotations(bytes)) return true;
  ExactBuffer copy(bytes);
  if (!quant::Pickle::parse(copy.span()).ok()) return false;
  are_rotations(archive_with(bytes));
  return true;
}

void mend(Bytes&, Random&) {}

}  // namespace

const FuzzTarget kRotationsTarget = {"rotations", kMaxBytes, seeds, read, mend};

}  // namespace recalld::testing
