#include "bench/codecs/stock_cache.h"

#include <ggml-cpu.h>
#include <ggml.h>
#include <llama.h>

#include <cmath>
#include <random>
#include <stdexcept>

#include "runtime/llama_log.h"

namespace recalld::bench {

std::vector<StockType> stock_types() {
  std::vector<StockType> types;
  for (const auto& [name, type] : {std::pair{"f16", GGML_TYPE_F16}, std::pair{"q8_0", GGML_TYPE_Q8_0},
                                   std::pair{"q4_0", GGML_TYPE_Q4_0}, std::pair{"q4_1", GGML_TYPE_Q4_1}}) {
    const double bits = 8.0 * static_cast<double>(ggml_type_size(type)) / static_cast<double>(ggml_blck_size(type));
    types.push_back({name, type, bits});
  }
  return types;
}

StockModel::StockModel(const std::string& path) {
  runtime::quiet_llama_log();
  llama_backend_init();
  model_ = llama_model_load_from_file(path.c_str(), llama_model_default_params());
  if (model_ == nullptr) throw std::runtime_error("libllama cannot load " + path + ": " + runtime::take_llama_errors());
}

StockModel::~StockModel() { llama_model_free(model_); }

StockSequence::StockSequence(const StockModel& model, const StockType& type, int context, int block, int threads)
    : n_vocab_(llama_vocab_n_tokens(llama_model_get_vocab(model.get()))) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(context);
  params.n_batch = params.n_ubatch = static_cast<uint32_t>(block);
  params.n_threads = params.n_threads_batch = threads;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  params.type_k = params.type_v = static_cast<enum ggml_type>(type.ggml_type);
  params.no_perf = true;
  context_ = llama_init_from_model(model.get(), params);
  if (context_ == nullptr)
    throw std::runtime_error("libllama has no context with a " + type.name + " cache: " + runtime::take_llama_errors());
}

StockSequence::~StockSequence() { llama_free(context_); }

std::span<const float> StockSequence::read(std::span<const int32_t> tokens) {
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  for (const int32_t token : tokens) {
    const int32_t i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = length_++;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  const int failed = llama_decode(context_, batch);
  llama_batch_free(batch);
  if (failed != 0) throw std::runtime_error("libllama cannot decode: " + runtime::take_llama_errors());
  return {llama_get_logits(context_), tokens.size() * static_cast<size_t>(n_vocab_)};
}

void stock_encode(const StockType& type, int n_rows, int width, const float* rows, std::vector<std::byte>& out) {
  const auto kind = static_cast<enum ggml_type>(type.ggml_type);
  const size_t row_bytes = ggml_row_size(kind, width);
  out.resize(row_bytes * static_cast<size_t>(n_rows));
  const auto convert = ggml_get_type_traits_cpu(kind)->from_float;
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row)
    convert(rows + row * static_cast<size_t>(width), out.data() + row * row_bytes, width);
}

struct StockAttention::Graphs {
  struct Free {
    void operator()(ggml_context* context) const { ggml_free(context); }
  };
  std::unique_ptr<ggml_context, Free> context;
  std::vector<ggml_cgraph*> layers;
};

StockAttention::StockAttention(const StockType& type, int n_kv_heads, int n_group, int head_dim, int n_keys,
                               int n_layers)
    : graphs_(std::make_unique<Graphs>()) {
  const auto kind = static_cast<enum ggml_type>(type.ggml_type);
  const int width = n_kv_heads * head_dim;
  const size_t side = ggml_row_size(kind, width) * static_cast<size_t>(n_keys);
  const size_t slack = size_t{16} << 20;
  graphs_->context.reset(ggml_init(
      {.mem_size = static_cast<size_t>(n_layers) * 2 * side + 4 * slack, .mem_buffer = nullptr, .no_alloc = false}));
  ggml_context* context = graphs_->context.get();
  if (context == nullptr) throw std::runtime_error("ggml has no memory for its caches");

  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<size_t>(n_keys) * static_cast<size_t>(width));
  for (float& value : rows) value = normal(random);
  std::vector<std::byte> coded;
  stock_encode(type, n_keys, width, rows.data(), coded);

  ggml_tensor* q = ggml_new_tensor_3d(context, GGML_TYPE_F32, head_dim, 1, n_kv_heads * n_group);
  for (int64_t i = 0; i < ggml_nelements(q); ++i) static_cast<float*>(q->data)[i] = normal(random);
  ggml_tensor* mask = ggml_new_tensor_2d(context, GGML_TYPE_F16, n_keys, 64);
  std::fill_n(static_cast<uint16_t*>(mask->data), ggml_nelements(mask), static_cast<uint16_t>(0));
  for (int layer = 0; layer < n_layers; ++layer) {
    ggml_tensor* views[2];
    for (ggml_tensor*& view : views) {
      ggml_tensor* cache = ggml_new_tensor_2d(context, kind, width, n_keys);
      std::copy(coded.begin(), coded.end(), static_cast<std::byte*>(cache->data));
      view = ggml_view_3d(context, cache, head_dim, n_keys, n_kv_heads, cache->nb[1], ggml_row_size(kind, head_dim), 0);
    }
    ggml_tensor* out =
        ggml_flash_attn_ext(context, q, views[0], views[1], mask, 1 / std::sqrt(static_cast<float>(head_dim)), 0, 0);
    ggml_cgraph* graph = ggml_new_graph_custom(context, 16, false);
    ggml_build_forward_expand(graph, out);
    graphs_->layers.push_back(graph);
  }
}

StockAttention::~StockAttention() = default;

void StockAttention::attend(int layer) {
  ggml_cgraph* graph = graphs_->layers[static_cast<size_t>(layer)];
  ggml_cplan plan = ggml_graph_plan(graph, 1, nullptr);
  std::vector<uint8_t> work(plan.work_size);
  plan.work_data = work.data();
  if (ggml_graph_compute(graph, &plan) != GGML_STATUS_SUCCESS) throw std::runtime_error("ggml cannot attend");
}

}  // namespace recalld::bench
