#include "runtime/weights.h"

#include <ggml-cpu.h>

namespace recalld::runtime {
namespace {

std::string shape_text(const int64_t* shape, size_t n) {
  std::string text = "[";
  for (size_t i = 0; i < n; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::string layer_name(int layer, const char* name) { return "blk." + std::to_string(layer) + "." + name; }

}  // namespace

bool can_multiply(ggml_type type) {
  // NVFP4 needs a scale tensor beside each weight, which no supported family binds.
  return type != GGML_TYPE_NVFP4 && ggml_get_type_traits_cpu(type)->vec_dot != nullptr;
}

Result<std::unique_ptr<Weights>> Weights::create(const GgufFile& file) {
  ggml_cpu_init();
  std::unique_ptr<Weights> weights(new Weights());
  const size_t n_tensors = file.tensors().size();
  weights->context_.reset(ggml_init({ggml_tensor_overhead() * (n_tensors + 1), nullptr, true}));
  if (!weights->context_) return resource_exhausted("no memory for the model's tensor table");
  const std::span<const std::byte> bytes = file.bytes();
  weights->buffer_.reset(ggml_backend_cpu_buffer_from_ptr(const_cast<std::byte*>(bytes.data()), bytes.size()));
  if (!weights->buffer_) return internal_error("ggml does not take the mapped model file as a buffer");
  for (const GgufTensor& tensor : file.tensors()) RECALLD_RETURN_IF_ERROR(weights->add(tensor));
  return weights;
}

Status Weights::add(const GgufTensor& tensor) {
  const auto type = static_cast<ggml_type>(tensor.type);
  if (!can_multiply(type)) {
    return unsupported("tensor '" + tensor.name + "' has type " + ggml_type_name(type) +
                       ", which the CPU backend cannot run; use a model in F16, Q8_0 or a K-quant");
  }
  ggml_tensor* created = ggml_new_tensor(context_.get(), type, GGML_MAX_DIMS, tensor.shape.data());
  ggml_set_name(created, tensor.name.c_str());
  if (ggml_backend_tensor_alloc(buffer_.get(), created, const_cast<std::byte*>(tensor.data.data())) !=
      GGML_STATUS_SUCCESS) {
    return internal_error("ggml cannot place tensor '" + tensor.name + "'");
  }
  tensors_.emplace(tensor.name, created);
  return ok_status();
}

ggml_tensor* WeightBinder::optional(const std::string& name, std::initializer_list<int64_t> shape) {
  const auto found = weights_->tensors_.find(name);
  if (found == weights_->tensors_.end()) return nullptr;
  used_[name] = true;
  ggml_tensor* tensor = found->second;
  bool fits = true;
  for (size_t i = 0; i < GGML_MAX_DIMS; ++i) fits &= tensor->ne[i] == (i < shape.size() ? shape.begin()[i] : 1);
  if (!fits) {
    fail(corrupt("tensor '" + name + "' has shape " + shape_text(tensor->ne, shape.size()) +
                 " where the hyperparameters ask for " + shape_text(shape.begin(), shape.size()) +
                 "; the file is damaged or badly converted"));
    return nullptr;
  }
  if (shape.size() == 1 && tensor->type != GGML_TYPE_F32) {
    fail(unsupported("tensor '" + name + "' is " + ggml_type_name(tensor->type) + "; vectors must be F32"));
    return nullptr;
  }
  return tensor;
}

ggml_tensor* WeightBinder::require(const std::string& name, std::initializer_list<int64_t> shape) {
  if (!weights_->tensors_.contains(name)) {
    fail(corrupt("tensor '" + name + "' is missing; the file is damaged or badly converted"));
    return nullptr;
  }
  return optional(name, shape);
}

ggml_tensor* WeightBinder::require(int layer, const char* name, std::initializer_list<int64_t> shape) {
  return require(layer_name(layer, name), shape);
}

ggml_tensor* WeightBinder::optional(int layer, const char* name, std::initializer_list<int64_t> shape) {
  return optional(layer_name(layer, name), shape);
}

void WeightBinder::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

Status WeightBinder::finish() const {
  RECALLD_RETURN_IF_ERROR(Status(status_));
  for (const auto& [name, tensor] : weights_->tensors_) {
    if (!used_.contains(name)) {
      return unsupported("tensor '" + name + "' is not a part of this architecture as this build knows it");
    }
  }
  return ok_status();
}

}  // namespace recalld::runtime
