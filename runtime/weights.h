// The tensors of a model as ggml sees them: in place in the mapped file, bound to names and checked for shape.
#pragma once

#include <ggml-cpp.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/gguf_file.h"

namespace recalld::runtime {

// Weight matrices are [in, out] in ggml's order. Members a family does not have are nullptr.
struct LayerWeights {
  ggml_tensor* attn_norm = nullptr;
  ggml_tensor* q = nullptr;
  ggml_tensor* k = nullptr;
  ggml_tensor* v = nullptr;
  ggml_tensor* q_bias = nullptr;
  ggml_tensor* k_bias = nullptr;
  ggml_tensor* v_bias = nullptr;
  ggml_tensor* q_norm = nullptr;  // [head_dim], per head
  ggml_tensor* k_norm = nullptr;
  ggml_tensor* o = nullptr;
  ggml_tensor* o_bias = nullptr;
  ggml_tensor* attn_post_norm = nullptr;
  ggml_tensor* ffn_norm = nullptr;
  ggml_tensor* gate = nullptr;
  ggml_tensor* gate_bias = nullptr;
  ggml_tensor* up = nullptr;
  ggml_tensor* up_bias = nullptr;
  ggml_tensor* down = nullptr;
  ggml_tensor* down_bias = nullptr;
  ggml_tensor* ffn_post_norm = nullptr;
};

// Whether ggml's CPU backend multiplies matrices of this type with activations.
bool can_multiply(ggml_type type);

// Immutable once bound. The file outlives it.
class Weights {
 public:
  // kUnsupported for tensor types that ggml's CPU backend cannot multiply with.
  static Result<std::unique_ptr<Weights>> create(const GgufFile& file);

  ggml_tensor* token_embd = nullptr;   // [n_embd, n_vocab]
  ggml_tensor* output_norm = nullptr;  // [n_embd]
  ggml_tensor* output = nullptr;       // [n_embd, n_vocab]; token_embd where the model ties them
  // One per Hparams::ropes: [n_dims / 2] frequency factors, or nullptr.
  std::vector<ggml_tensor*> rope_factors;
  std::vector<LayerWeights> layers;

 private:
  friend class WeightBinder;
  Weights() = default;
  Status add(const GgufTensor& tensor);

  ggml_context_ptr context_;
  ggml_backend_buffer_ptr buffer_;
  std::map<std::string, ggml_tensor*, std::less<>> tensors_;
};

// Looks tensors up by name, remembering the first thing that is wrong and which tensors were asked for.
class WeightBinder {
 public:
  explicit WeightBinder(Weights* weights) : weights_(weights) {}

  // The tensor, whose shape must be `shape` (fastest dimension first). Vectors must be F32. nullptr on an error.
  ggml_tensor* require(const std::string& name, std::initializer_list<int64_t> shape);
  // The same, or nullptr when the file has none of that name.
  ggml_tensor* optional(const std::string& name, std::initializer_list<int64_t> shape);
  // "blk.<layer>.<name>".
  ggml_tensor* require(int layer, const char* name, std::initializer_list<int64_t> shape);
  ggml_tensor* optional(int layer, const char* name, std::initializer_list<int64_t> shape);

  // kCorrupt for a missing tensor or a shape that does not fit; kUnsupported when the file has tensors that nobody
  // asked for: the model does something this build would silently leave out.
  Status finish() const;

 private:
  void fail(Status status);

  Weights* weights_;
  Status status_;
  std::map<std::string, bool, std::less<>> used_;
};

}  // namespace recalld::runtime
