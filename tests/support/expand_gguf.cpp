#include "tests/support/expand_gguf.h"

#include <ggml-cpp.h>

#include <fstream>
#include <vector>

#include "runtime/gguf_file.h"

namespace recalld::testing {
namespace {

std::vector<float> to_floats(const runtime::GgufTensor& tensor) {
  const ggml_type_traits* traits = ggml_get_type_traits(static_cast<ggml_type>(tensor.type));
  const int64_t n = tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
  std::vector<float> values(static_cast<size_t>(n));
  traits->to_float(tensor.data.data(), values.data(), n);
  return values;
}

}  // namespace

Status expand_gguf(const std::string& from, const std::string& to) {
  RECALLD_ASSIGN_OR_RETURN(const auto file, runtime::GgufFile::open(from));
  const gguf_context_ptr source(gguf_init_from_file(from.c_str(), {true, nullptr}));
  const gguf_context_ptr target(gguf_init_empty());
  if (!source) return corrupt("ggml cannot read " + from);
  gguf_set_kv(target.get(), source.get());
  const ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * file->tensors().size(), nullptr, true}));
  for (const runtime::GgufTensor& tensor : file->tensors()) {
    ggml_tensor* expanded = ggml_new_tensor(context.get(), GGML_TYPE_F32, GGML_MAX_DIMS, tensor.shape.data());
    ggml_set_name(expanded, tensor.name.c_str());
    gguf_add_tensor(target.get(), expanded);
  }
  if (!gguf_write_to_file(target.get(), to.c_str(), true)) return unavailable("cannot write " + to);
  std::ofstream out(to, std::ios::binary | std::ios::app);
  const size_t alignment = gguf_get_alignment(target.get());
  for (const runtime::GgufTensor& tensor : file->tensors()) {
    const bool is_float = tensor.type == GGML_TYPE_F32;
    const std::vector<float> values = is_float ? std::vector<float>() : to_floats(tensor);
    const std::span<const std::byte> bytes = is_float ? tensor.data : std::as_bytes(std::span(values));
    const std::vector<char> padding(round_up(bytes.size(), alignment) - bytes.size());
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    out.write(padding.data(), static_cast<std::streamsize>(padding.size()));
  }
  out.flush();
  if (!out) return storage_full("cannot write " + to + "; free some disk space");
  return ok_status();
}

}  // namespace recalld::testing
