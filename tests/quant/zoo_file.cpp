#include "tests/quant/zoo_file.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace recalld::testing {
namespace {

using Bytes = std::vector<std::byte>;

template <class Number>
void put(Bytes& out, Number number) {
  std::byte raw[sizeof number];
  std::memcpy(raw, &number, sizeof number);
  out.insert(out.end(), raw, raw + sizeof number);
}
void put_text(Bytes& out, const std::string& text) {
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
}

// One operation of pickle after another.
class PickleWriter {
 public:
  PickleWriter& op(int code) {
    out.push_back(static_cast<std::byte>(code));
    return *this;
  }
  PickleWriter& text(const std::string& value) {
    op('X');
    put(out, static_cast<uint32_t>(value.size()));
    put_text(out, value);
    return *this;
  }
  PickleWriter& integer(int64_t value) {
    op('J');
    put(out, static_cast<int32_t>(value));
    return *this;
  }
  PickleWriter& global(const std::string& module, const std::string& name) {
    op('c');
    put_text(out, module + "\n" + name + "\n");
    return *this;
  }
  PickleWriter& remember(int slot) {
    op('q').op(slot);
    return *this;
  }
  Bytes out;
};

uint32_t crc_of(const Bytes& bytes) {
  uint32_t crc = ~0U;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320U : 0);
  }
  return ~crc;
}

}  // namespace

std::vector<float> ZooFile::rotation(int layer) const {
  std::vector<float> matrix;
  for (int i = 0; i < head_dim; ++i)
    for (int j = 0; j < head_dim; ++j) {
      const int parity = std::popcount(static_cast<unsigned>(i & j)) + std::popcount(static_cast<unsigned>(j & layer));
      matrix.push_back(static_cast<float>((parity % 2 == 0 ? scale : -scale) / std::sqrt(head_dim)));
    }
  return matrix;
}

std::vector<std::byte> ZooFile::bytes() const {
  PickleWriter pickle;
  int storages = 0;
  std::vector<std::pair<std::string, Bytes>> members;
  const auto tensor = [&](const std::vector<float>& numbers, const std::vector<int>& sizes,
                          const std::vector<int>& strides) {
    const std::string key = std::to_string(storages++);
    pickle.global("torch._utils", "_rebuild_tensor_v2").op('(');
    pickle.op('(').text("storage").global("torch", number_type).text(key).text("cpu");
    pickle.integer(static_cast<int64_t>(numbers.size())).op('t').op('Q');
    pickle.integer(0).op('(');
    for (const int size : sizes) pickle.integer(size);
    pickle.op('t').op('(');
    for (const int stride : strides) pickle.integer(stride);
    pickle.op('t').op(0x89).global("collections", "OrderedDict").op(')').op('R').op('t').op('R');
    Bytes raw;
    for (const float number : numbers) put(raw, number);
    members.emplace_back("zoo/data/" + key, raw);
  };
  pickle.op(0x80).op(2).op('}').remember(0).op('(');
  pickle.text("format_version").integer(version).text("objective").text("qqt_r_h_pbr");
  pickle.text("source_grouping").text(grouping).text("layers").op('}').remember(1).op('(');
  for (const int layer : layers) {
    text_ids ? pickle.text(std::to_string(layer)) : pickle.integer(layer);
    pickle.op('}').op('(').text("layer_id").integer(layer).text("rotation");
    std::vector<float> numbers = rotation(layer);
    if (transposed)
      for (size_t i = 0, d = static_cast<size_t>(head_dim); i < d; ++i)
        for (size_t j = 0; j < i; ++j) std::swap(numbers[i * d + j], numbers[j * d + i]);
    tensor(numbers, {head_dim, head_dim}, {transposed ? 1 : head_dim, transposed ? head_dim : 1});
    pickle.text("eigenvalues");
    tensor(std::vector<float>(static_cast<size_t>(head_dim), 1.0F), {head_dim}, {1});
    pickle.op('u');
  }
  pickle.op('u').op('u').op('.');
  members.insert(members.begin(), {"zoo/data.pkl", pickle.out});
  Bytes order;
  put_text(order, "little");
  members.emplace_back("zoo/byteorder", order);
  return zip_file(members);
}

std::vector<std::byte> zip_file(const std::vector<std::pair<std::string, Bytes>>& members, uint16_t method) {
  Bytes out, directory;
  for (const auto& member : members) {
    const std::string& name = member.first;
    const Bytes& bytes = member.second;
    const auto at = static_cast<uint32_t>(out.size());
    const auto size = static_cast<uint32_t>(bytes.size());
    const auto common = [&](Bytes& to, uint16_t extra) {
      put(to, uint16_t{0});  // flags
      put(to, method);
      put(to, uint32_t{0});  // time and date
      put(to, crc_of(bytes));
      put(to, size);
      put(to, size);
      put(to, static_cast<uint16_t>(name.size()));
      put(to, extra);
    };
    put(out, uint32_t{0x04034b50});
    put(out, uint16_t{20});
    common(out, 4);
    put_text(out, name);
    put(out, uint32_t{0});  // an extra field that the directory does not have
    out.insert(out.end(), bytes.begin(), bytes.end());
    put(directory, uint32_t{0x02014b50});
    put(directory, uint32_t{20 | 20 << 16});
    common(directory, 0);
    put(directory, uint16_t{0});
    put(directory, uint32_t{0});
    put(directory, uint32_t{0});
    put(directory, at);
    put_text(directory, name);
  }
  const auto start = static_cast<uint32_t>(out.size());
  out.insert(out.end(), directory.begin(), directory.end());
  put(out, uint32_t{0x06054b50});
  put(out, uint32_t{0});
  put(out, static_cast<uint16_t>(members.size()));
  put(out, static_cast<uint16_t>(members.size()));
  put(out, static_cast<uint32_t>(directory.size()));
  put(out, start);
  put(out, uint16_t{0});
  return out;
}

}  // namespace recalld::testing
