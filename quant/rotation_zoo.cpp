#include "quant/rotation_zoo.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include "quant/page.h"
#include "quant/pickle.h"
#include "quant/stored_zip.h"

namespace recalld::quant {
namespace {

using Kind = Pickle::Kind;
using Members = std::map<std::string, std::span<const std::byte>>;

constexpr double kOrthogonal = 1e-2;

Status wrong(const std::string& what) { return corrupt("rotations: " + what); }

// All members lie in one folder, whose name is free.
struct Archive {
  Members members;
  std::string folder;

  std::span<const std::byte> find(const std::string& name) const {
    const auto found = members.find(folder + name);
    return found == members.end() ? std::span<const std::byte>() : found->second;
  }
};

Result<Archive> open(std::span<const std::byte> bytes) {
  constexpr std::string_view kPickle = "data.pkl";
  Archive archive;
  RECALLD_ASSIGN_OR_RETURN(archive.members, stored_members(bytes));
  for (const auto& [name, member] : archive.members)
    if (name.ends_with("/" + std::string(kPickle))) archive.folder = name.substr(0, name.size() - kPickle.size());
  if (archive.folder.empty()) return wrong("the archive has no data.pkl: not what torch.save writes");
  const std::span<const std::byte> order = archive.find("byteorder");
  if (!order.empty() && std::string(reinterpret_cast<const char*>(order.data()), order.size()) != "little")
    return unsupported("rotations: numbers that are not little endian");
  return archive;
}

// Integers of a sequence; false when there is another thing in it.
bool integers(const Pickle& pickle, const Pickle::Object& object, std::vector<int64_t>* to) {
  if (object.kind != Kind::kSequence) return false;
  for (const int part : object.parts) {
    if (pickle.at(part).kind != Kind::kInteger) return false;
    to->push_back(pickle.at(part).integer);
  }
  return true;
}

// A call of torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, ...), storage being a reference to
// ("storage", type, key, place, count).
struct Tensor {
  std::string type, key;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
};

bool read_tensor(const Pickle& pickle, const Pickle::Object& object, Tensor* tensor) {
  if (object.kind != Kind::kCall || pickle.at(object.parts[0]).text != "torch._utils _rebuild_tensor_v2") return false;
  const Pickle::Object& arguments = pickle.at(object.parts[1]);
  if (arguments.kind != Kind::kSequence || arguments.parts.size() < 4) return false;
  const Pickle::Object& reference = pickle.at(arguments.parts[0]);
  if (reference.kind != Kind::kReference) return false;
  const Pickle::Object& storage = pickle.at(reference.parts[0]);
  if (storage.kind != Kind::kSequence || storage.parts.size() < 3) return false;
  tensor->type = pickle.at(storage.parts[1]).text;
  tensor->key = pickle.at(storage.parts[2]).text;
  const Pickle::Object& offset = pickle.at(arguments.parts[1]);
  tensor->offset = offset.integer;
  return offset.kind == Kind::kInteger && integers(pickle, pickle.at(arguments.parts[2]), &tensor->sizes) &&
         integers(pickle, pickle.at(arguments.parts[3]), &tensor->strides);
}

Status check_orthogonal(int32_t d, const std::vector<float>& matrix) {
  const auto n = static_cast<size_t>(d);
  for (size_t a = 0; a < n; ++a)
    for (size_t b = a; b < n; ++b) {
      double product = 0;
      for (size_t i = 0; i < n; ++i) product += static_cast<double>(matrix[a * n + i]) * matrix[b * n + i];
      // Not a number is not near either.
      if (!(std::abs(product - (a == b ? 1 : 0)) <= kOrthogonal)) return wrong("the rotation is not orthogonal");
    }
  return ok_status();
}

Result<ZooRotations::Layer> read_rotation(const Archive& archive, const Tensor& tensor) {
  if (tensor.type != "torch FloatStorage")
    return unsupported("rotations: numbers in a '" + tensor.type + "', expected torch FloatStorage");
  if (tensor.sizes.size() != 2 || tensor.strides.size() != 2 || tensor.sizes[0] != tensor.sizes[1])
    return wrong("the rotation is not a square matrix");
  const int64_t d = tensor.sizes[0];
  if (d < 16 || d > kernels::kMaxHeadDim || d % 16 != 0)
    return wrong("head_dim is " + std::to_string(d) + ", expected a multiple of 16 up to 256");
  const std::span<const std::byte> bytes = archive.find("data/" + tensor.key);
  const auto count = static_cast<int64_t>(bytes.size() / sizeof(float));
  const auto [down, right] = std::pair{tensor.strides[0], tensor.strides[1]};
  // Each checked against the count first, so that the sum of all cannot overflow.
  const auto fits = [&](int64_t number) { return number >= 0 && number <= count; };
  if (!fits(tensor.offset) || !fits(down) || !fits(right) || tensor.offset + (d - 1) * (down + right) >= count)
    return wrong("the rotation goes beyond its numbers");
  ZooRotations::Layer layer{static_cast<int32_t>(d), {}};
  for (int64_t row = 0; row < d; ++row)
    for (int64_t column = 0; column < d; ++column) {
      float number;
      std::memcpy(&number,
                  bytes.data() + static_cast<size_t>(tensor.offset + row * down + column * right) * sizeof number,
                  sizeof number);
      layer.rotation.push_back(number);
    }
  RECALLD_RETURN_IF_ERROR(check_orthogonal(layer.head_dim, layer.rotation));
  return layer;
}

// An integer, or text that is one.
bool read_layer_id(const Pickle::Object& object, int* id) {
  if (object.kind == Kind::kText) {
    const auto [end, error] = std::from_chars(object.text.data(), object.text.data() + object.text.size(), *id);
    return error == std::errc() && end == object.text.data() + object.text.size() && *id >= 0;
  }
  *id = static_cast<int>(object.integer);
  return object.kind == Kind::kInteger && object.integer >= 0 && object.integer < kMaxLayers;
}

Status check_kind(const Pickle& pickle) {
  const Pickle::Object* version = pickle.find(pickle.root(), "format_version");
  if (version == nullptr) return wrong("format_version is missing");
  if (version->integer != 1)
    return unsupported("rotations: format_version is " + std::to_string(version->integer) + ", expected 1");
  const Pickle::Object* grouping = pickle.find(pickle.root(), "source_grouping");
  if (grouping != nullptr && grouping->text != "layer")
    return unsupported("rotations: source_grouping is '" + grouping->text + "', expected 'layer'");
  return ok_status();
}

}  // namespace

Result<ZooRotations> parse_rotations(std::span<const std::byte> bytes) {
  RECALLD_ASSIGN_OR_RETURN(const Archive archive, open(bytes));
  RECALLD_ASSIGN_OR_RETURN(const Pickle pickle, Pickle::parse(archive.find("data.pkl")));
  RECALLD_RETURN_IF_ERROR(check_kind(pickle));
  ZooRotations rotations;
  if (const Pickle::Object* objective = pickle.find(pickle.root(), "objective")) rotations.objective = objective->text;
  const Pickle::Object* layers = pickle.find(pickle.root(), "layers");
  if (layers == nullptr || layers->kind != Kind::kDictionary || layers->parts.empty())
    return wrong("there are no layers in it");
  for (size_t i = 0; i + 1 < layers->parts.size(); i += 2) {
    int id = 0;
    if (!read_layer_id(pickle.at(layers->parts[i]), &id)) return wrong("a layer's name is not a number");
    const std::string place = "layer " + std::to_string(id);
    const Pickle::Object* rotation = pickle.find(pickle.at(layers->parts[i + 1]), "rotation");
    Tensor tensor;
    if (rotation == nullptr || !read_tensor(pickle, *rotation, &tensor))
      return wrong("the rotation is missing").with_context(place);
    auto layer = read_rotation(archive, tensor);
    if (!layer.ok()) return layer.status().with_context(place);
    rotations.layers[id] = std::move(*layer);
  }
  return rotations;
}

Result<ZooRotations> load_rotations(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot read the rotations " + path);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto rotations = parse_rotations(std::as_bytes(std::span(bytes)));
  return rotations.ok() ? rotations : rotations.status().with_context(path);
}

Result<std::shared_ptr<const Calibration>> with_rotations(const Calibration& calibration, const ZooRotations& k,
                                                          const ZooRotations& v, const std::string& origin) {
  Calibration changed = calibration;
  changed.text += "; OSCAR's rotations: " + origin;
  for (size_t i = 0; i < changed.layers.size(); ++i)
    for (const bool keys : {true, false}) {
      const ZooRotations* rotations = keys ? &k : &v;
      const char* side = keys ? "keys" : "values";
      LayerCalibration& to = changed.layers[i];
      const auto found = rotations->layers.find(static_cast<int>(i));
      if (found == rotations->layers.end())
        return failed_precondition("the rotations of " + std::string(side) + " have no layer " + std::to_string(i) +
                                   "; are they this model's?");
      if (found->second.head_dim != to.head_dim)
        return failed_precondition("the rotations of " + std::string(side) + " have a head_dim of " +
                                   std::to_string(found->second.head_dim) + " in layer " + std::to_string(i) +
                                   ", the model " + std::to_string(to.head_dim) + "; they are another model's");
      (keys ? to.oscar_k : to.oscar_v) = found->second.rotation;
    }
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, write_calibration(changed));
  return parse_calibration(bytes);
}

}  // namespace recalld::quant
