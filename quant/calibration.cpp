#include "quant/calibration.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace recalld::quant {
namespace {

constexpr char kMagic[8] = {'R', 'C', 'A', 'L', 'I', 'B', '0', '3'};
constexpr int32_t kMaxLayersOfFile = 4096, kMaxHeads = 256, kMaxText = 4096;

Status wrong(const std::string& what) { return corrupt("calibration: " + what); }

size_t squared(int32_t d) { return static_cast<size_t>(d) * static_cast<size_t>(d); }

class Out {
 public:
  void raw(const void* data, size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), from, from + size);
  }
  void number(int32_t value) { raw(&value, sizeof value); }
  void word(uint64_t value) { raw(&value, sizeof value); }
  void text(const std::string& value) {
    number(static_cast<int32_t>(value.size()));
    raw(value.data(), value.size());
  }
  void floats(const std::vector<float>& values) { raw(values.data(), values.size() * sizeof(float)); }
  // A length for each row, then unit rows as halves.
  void rows(int32_t d, const std::vector<float>& matrix) {
    for (size_t row = 0; row < static_cast<size_t>(d); ++row) {
      const float* from = matrix.data() + row * static_cast<size_t>(d);
      double sum = 0;
      for (int32_t i = 0; i < d; ++i) sum += static_cast<double>(from[i]) * from[i];
      const auto length = static_cast<float>(std::sqrt(sum));
      raw(&length, sizeof length);
      for (int32_t i = 0; i < d; ++i) {
        const uint16_t half = float_to_half(length > 0 ? from[i] / length : 0);
        raw(&half, sizeof half);
      }
    }
  }
  std::vector<std::byte> bytes;
};

class In {
 public:
  explicit In(std::span<const std::byte> bytes) : left_(bytes) {}

  Status raw(void* to, size_t size) {
    if (left_.size() < size) return wrong("the file is cut");
    if (size == 0) return ok_status();  // `to` may be null then
    std::memcpy(to, left_.data(), size);
    left_ = left_.subspan(size);
    return ok_status();
  }
  Status number(const char* name, int32_t low, int32_t high, int32_t* to) {
    RECALLD_RETURN_IF_ERROR(raw(to, sizeof *to));
    if (*to < low || *to > high)
      return wrong(std::string(name) + " is " + std::to_string(*to) + ", expected " + std::to_string(low) + " to " +
                   std::to_string(high));
    return ok_status();
  }
  Status text(const char* name, std::string* to) {
    int32_t size = 0;
    RECALLD_RETURN_IF_ERROR(number(name, 0, kMaxText, &size));
    to->resize(static_cast<size_t>(size));
    return raw(to->data(), to->size());
  }
  Status floats(const char* name, size_t count, std::vector<float>* to) {
    if (left_.size() / sizeof(float) < count) return wrong("the file is cut");
    to->resize(count);
    RECALLD_RETURN_IF_ERROR(raw(to->data(), count * sizeof(float)));
    return finite(name, *to);
  }
  Status rows(const char* name, int32_t d, std::vector<float>* to) {
    const size_t row_bytes = sizeof(float) + static_cast<size_t>(d) * sizeof(uint16_t);
    if (left_.size() / row_bytes < static_cast<size_t>(d)) return wrong("the file is cut");
    to->clear();
    for (int32_t row = 0; row < d; ++row) {
      float length = 0;
      RECALLD_RETURN_IF_ERROR(raw(&length, sizeof length));
      for (int32_t i = 0; i < d; ++i) {
        uint16_t half = 0;
        RECALLD_RETURN_IF_ERROR(raw(&half, sizeof half));
        to->push_back(half_to_float(half) * length);
      }
    }
    return finite(name, *to);
  }
  size_t left() const { return left_.size(); }

 private:
  static Status finite(const char* name, const std::vector<float>& values) {
    if (std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) return ok_status();
    return wrong(std::string(name) + " has numbers that are not finite");
  }
  std::span<const std::byte> left_;
};

Status read_bits(In& in, int32_t d, std::vector<uint8_t>* to) {
  to->resize(static_cast<size_t>(d / kBitsBlock));
  RECALLD_RETURN_IF_ERROR(in.raw(to->data(), to->size()));
  for (size_t i = 0; i < to->size(); ++i) {
    const uint8_t bits = (*to)[i];
    if (bits != 4 && bits != 3 && bits != 2 && (bits != 0 || i == 0))
      return wrong("bits of a block are " + std::to_string(bits) + ", expected 4, 3, 2 or, after the first, 0");
    if (i > 0 && bits > (*to)[i - 1]) return wrong("bits of a layer do not descend");
  }
  return ok_status();
}

Status read_rope(In& in, int32_t d, kernels::RopeSpec* rope) {
  RECALLD_RETURN_IF_ERROR(in.number("rotated dims", 0, d, &rope->n_dims));
  if (rope->n_dims % 2 != 0)
    return wrong("rotated dims are " + std::to_string(rope->n_dims) + ", expected an even number");
  int32_t pairs = 0;
  RECALLD_RETURN_IF_ERROR(in.number("form of rotated pairs", 0, 1, &pairs));
  rope->neox = pairs == 1;
  return in.floats("rotation frequencies", static_cast<size_t>(rope->n_dims) / 2, &rope->inv_freq);
}

Status read_map(In& in, int32_t d, SideMap* map) {
  RECALLD_RETURN_IF_ERROR(in.floats("variances", static_cast<size_t>(d), &map->variances));
  for (size_t i = 0; i < map->variances.size(); ++i)
    if (!(map->variances[i] > 0) || (i > 0 && map->variances[i] > map->variances[i - 1]))
      return wrong("variances are not positive and descending");
  return in.rows("forward map", d, &map->forward);
}

Status read_layer(In& in, LayerCalibration* layer) {
  int32_t heads = 0;
  RECALLD_RETURN_IF_ERROR(in.number("KV heads", 1, kMaxHeads, &heads));
  RECALLD_RETURN_IF_ERROR(in.number("head_dim", kBitsBlock, kernels::kMaxHeadDim, &layer->head_dim));
  const int32_t d = layer->head_dim;
  if (d % kBitsBlock != 0) return wrong("head_dim is " + std::to_string(d) + ", expected a multiple of 16");
  RECALLD_RETURN_IF_ERROR(read_rope(in, d, &layer->rope));
  for (LayerBits& bits : layer->bits) {
    RECALLD_RETURN_IF_ERROR(read_bits(in, d, &bits.k));
    RECALLD_RETURN_IF_ERROR(read_bits(in, d, &bits.v));
  }
  for (int32_t i = 0; i < heads; ++i) {
    HeadCalibration& head = layer->heads.emplace_back();
    RECALLD_RETURN_IF_ERROR(in.floats("key mean", static_cast<size_t>(d), &head.key_mean));
    RECALLD_RETURN_IF_ERROR(in.floats("energy of key channels", static_cast<size_t>(d), &head.k_energy));
    RECALLD_RETURN_IF_ERROR(in.floats("energy of value channels", static_cast<size_t>(d), &head.v_energy));
    RECALLD_RETURN_IF_ERROR(read_map(in, d, &head.k));
    RECALLD_RETURN_IF_ERROR(read_map(in, d, &head.v));
  }
  RECALLD_RETURN_IF_ERROR(in.rows("OSCAR's key rotation", d, &layer->oscar_k));
  return in.rows("OSCAR's value rotation", d, &layer->oscar_v);
}

Status check_layer(const LayerCalibration& layer) {
  const auto d = static_cast<size_t>(layer.head_dim);
  bool complete = !layer.heads.empty() && layer.oscar_k.size() == d * d && layer.oscar_v.size() == d * d &&
                  layer.rope.inv_freq.size() * 2 == static_cast<size_t>(layer.rope.n_dims) &&
                  layer.rope.n_dims <= layer.head_dim;
  for (const LayerBits& bits : layer.bits)
    complete = complete && bits.k.size() == d / kBitsBlock && bits.v.size() == d / kBitsBlock;
  for (const HeadCalibration& head : layer.heads)
    for (const SideMap* map : {&head.k, &head.v})
      complete = complete && head.key_mean.size() == d && head.k_energy.size() == d && head.v_energy.size() == d &&
                 map->variances.size() == d && map->forward.size() == squared(layer.head_dim);
  return complete ? ok_status() : invalid_argument("a calibration lacks parts of a layer");
}

}  // namespace

Result<const LayerCalibration*> Calibration::layer(int index) const {
  if (index < 0 || static_cast<size_t>(index) >= layers.size())
    return invalid_argument("layer " + std::to_string(index) + " of a calibration of " + std::to_string(layers.size()));
  return &layers[static_cast<size_t>(index)];
}

Result<std::vector<std::byte>> write_calibration(const Calibration& calibration) {
  Out out;
  out.raw(kMagic, sizeof kMagic);
  out.word(calibration.model.low);
  out.word(calibration.model.high);
  out.text(calibration.model_name.substr(0, kMaxText));
  out.text(calibration.text.substr(0, kMaxText));
  out.number(static_cast<int32_t>(calibration.layers.size()));
  for (const LayerCalibration& layer : calibration.layers) {
    RECALLD_RETURN_IF_ERROR(check_layer(layer));
    out.number(static_cast<int32_t>(layer.heads.size()));
    out.number(layer.head_dim);
    out.number(layer.rope.n_dims);
    out.number(layer.rope.neox ? 1 : 0);
    out.floats(layer.rope.inv_freq);
    for (const LayerBits& bits : layer.bits) {
      out.raw(bits.k.data(), bits.k.size());
      out.raw(bits.v.data(), bits.v.size());
    }
    for (const HeadCalibration& head : layer.heads) {
      out.floats(head.key_mean);
      out.floats(head.k_energy);
      out.floats(head.v_energy);
      for (const SideMap* map : {&head.k, &head.v}) {
        out.floats(map->variances);
        out.rows(layer.head_dim, map->forward);
      }
    }
    out.rows(layer.head_dim, layer.oscar_k);
    out.rows(layer.head_dim, layer.oscar_v);
  }
  out.word(checksum64(out.bytes));
  return std::move(out.bytes);
}

Result<std::shared_ptr<const Calibration>> parse_calibration(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof kMagic + sizeof(uint64_t)) return wrong("the file is cut");
  if (std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return wrong("not a calibration file of this version; make one with recallctl calibrate");
  const std::span<const std::byte> body = bytes.first(bytes.size() - sizeof(uint64_t));
  uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + body.size(), sizeof checksum);
  if (checksum != checksum64(body)) return wrong("its bytes do not match its checksum: it is cut or altered");

  auto calibration = std::make_shared<Calibration>();
  In in(body.subspan(sizeof kMagic));
  RECALLD_RETURN_IF_ERROR(in.raw(&calibration->model.low, sizeof(uint64_t)));
  RECALLD_RETURN_IF_ERROR(in.raw(&calibration->model.high, sizeof(uint64_t)));
  RECALLD_RETURN_IF_ERROR(in.text("length of the model's name", &calibration->model_name));
  RECALLD_RETURN_IF_ERROR(in.text("length of the text's name", &calibration->text));
  int32_t layers = 0;
  RECALLD_RETURN_IF_ERROR(in.number("layers", 1, kMaxLayersOfFile, &layers));
  for (int32_t i = 0; i < layers; ++i)
    RECALLD_RETURN_IF_ERROR(
        read_layer(in, &calibration->layers.emplace_back()).with_context("layer " + std::to_string(i)));
  if (in.left() != 0) return wrong(std::to_string(in.left()) + " bytes too many");
  calibration->digest = digest128(body);
  return std::shared_ptr<const Calibration>(std::move(calibration));
}

std::string calibration_file(const std::string& folder, const Digest128& model) {
  return (std::filesystem::path(folder) / (model.hex() + ".rcal")).string();
}

Status save_calibration(const Calibration& calibration, const std::string& path) {
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, write_calibration(calibration));
  // Renamed into place: a daemon that starts meanwhile sees the old file or the new one.
  const std::filesystem::path target(path);
  const std::filesystem::path partial(path + ".part");
  std::error_code error;
  if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), error);
  {
    std::ofstream file(partial, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) return storage_full("cannot write " + partial.string());
  }
  std::filesystem::rename(partial, target, error);
  return error ? storage_full("cannot rename " + partial.string() + ": " + error.message()) : ok_status();
}

Result<std::shared_ptr<const Calibration>> load_calibration(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot read the calibration " + path);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto calibration = parse_calibration(std::as_bytes(std::span(bytes)));
  return calibration.ok() ? calibration : calibration.status().with_context(path);
}

Status check_calibration(const Calibration& calibration, const Digest128& model, std::span<const LayerDims> layers) {
  if (calibration.model != model)
    return failed_precondition("the calibration was made for another model (" + calibration.model_name +
                               ", fingerprint " + calibration.model.hex() + "; this one has " + model.hex() +
                               "); make one for this model with recallctl calibrate");
  bool fits = calibration.layers.size() == layers.size();
  for (size_t i = 0; fits && i < layers.size(); ++i)
    fits = calibration.layers[i].head_dim == layers[i].head_dim &&
           static_cast<int32_t>(calibration.layers[i].heads.size()) == layers[i].n_kv_heads;
  return fits ? ok_status()
              : corrupt("the calibration's layers are not the model's; make one with recallctl calibrate");
}

kernels::SideFormat bits_format(std::span<const uint8_t> bits) {
  kernels::SideFormat format;
  for (const uint8_t width : bits) {
    if (format.n_bands == 0 || format.bands[format.n_bands - 1].bits != width) {
      format.bands[format.n_bands].bits = width;
      ++format.n_bands;
    }
    format.bands[format.n_bands - 1].n_dims =
        static_cast<int16_t>(format.bands[format.n_bands - 1].n_dims + kBitsBlock);
  }
  return format;
}

}  // namespace recalld::quant
