#include "tests/support/llama_oracle.h"

#include <llama.h>

#include <algorithm>
#include <cmath>

#include "runtime/llama_log.h"

namespace recalld::testing {
namespace {

// Owns the arrays of a llama_batch.
class Batch {
 public:
  explicit Batch(int32_t n) : batch_(llama_batch_init(n, 0, 1)) {}
  ~Batch() { llama_batch_free(batch_); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void add(int32_t token, int32_t position, bool output) {
    const int32_t i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = 0;
    batch_.logits[i] = output ? 1 : 0;
  }
  const llama_batch& get() const { return batch_; }

 private:
  llama_batch batch_;
};

// Rows of logits at once: [64][n_vocab] floats.
constexpr size_t kRowsWithLogits = 64;

double log_sum_exp(std::span<const float> row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float x : row) sum += std::exp(x - top);
  return top + std::log(sum);
}

double mean(std::span<const float> row) {
  double sum = 0;
  for (const float x : row) sum += x;
  return sum / static_cast<double>(row.size());
}

}  // namespace

void LlamaOracle::FreeModel::operator()(llama_model* model) const { llama_model_free(model); }
void LlamaOracle::FreeContext::operator()(llama_context* context) const { llama_free(context); }
LlamaOracle::~LlamaOracle() = default;

Result<std::unique_ptr<LlamaOracle>> LlamaOracle::open(const std::string& path, const OracleOptions& options) {
  runtime::quiet_llama_log();
  llama_backend_init();
  std::unique_ptr<LlamaOracle> oracle(new LlamaOracle());
  oracle->model_.reset(llama_model_load_from_file(path.c_str(), llama_model_default_params()));
  if (!oracle->model_) return internal_error("libllama cannot load " + path + ": " + runtime::take_llama_errors());
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(options.n_ctx);
  params.n_batch = static_cast<uint32_t>(options.n_ctx);
  params.n_ubatch = static_cast<uint32_t>(options.ubatch);
  params.n_threads = options.threads;
  params.n_threads_batch = options.threads;
  params.flash_attn_type = options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = options.f32_cache ? GGML_TYPE_F32 : GGML_TYPE_F16;
  params.type_v = params.type_k;
  params.no_perf = true;
  oracle->context_.reset(llama_init_from_model(oracle->model_.get(), params));
  if (!oracle->context_) return internal_error("libllama cannot make a context: " + runtime::take_llama_errors());
  return oracle;
}

int32_t LlamaOracle::n_vocab() const { return llama_vocab_n_tokens(llama_model_get_vocab(model_.get())); }

Result<std::vector<float>> LlamaOracle::read(std::span<const int32_t> tokens, bool all) {
  std::vector<float> logits;
  const size_t step = all ? kRowsWithLogits : tokens.size();
  for (size_t at = 0; at < tokens.size(); at += step) {
    const auto own = tokens.subspan(at, std::min(step, tokens.size() - at));
    Batch batch(static_cast<int32_t>(own.size()));
    for (size_t i = 0; i < own.size(); ++i) {
      batch.add(own[i], length_ + static_cast<int32_t>(i), all || at + i + 1 == tokens.size());
    }
    if (llama_decode(context_.get(), batch.get()) != 0) {
      return internal_error("libllama cannot decode: " + runtime::take_llama_errors());
    }
    length_ += static_cast<int32_t>(own.size());
    for (size_t i = all ? 0 : own.size() - 1; i < own.size(); ++i) {
      const float* row = llama_get_logits_ith(context_.get(), static_cast<int32_t>(i));
      logits.insert(logits.end(), row, row + n_vocab());
    }
  }
  return logits;
}

void LlamaOracle::truncate(int32_t length) {
  llama_memory_seq_rm(llama_get_memory(context_.get()), 0, length, -1);
  length_ = length;
}

int32_t argmax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

LogitDistance logit_distance(std::span<const float> reference, std::span<const float> other, int32_t n_vocab) {
  LogitDistance distance;
  const auto width = static_cast<size_t>(n_vocab);
  const size_t n_rows = reference.size() / width;
  double error = 0;
  double norm = 0;
  for (size_t r = 0; r < n_rows; ++r) {
    const auto a = reference.subspan(r * width, width);
    const auto b = other.subspan(r * width, width);
    const double za = log_sum_exp(a);
    const double zb = log_sum_exp(b);
    const double mean_a = mean(a);
    const double mean_b = mean(b);
    for (size_t i = 0; i < width; ++i) {
      distance.kl += std::exp(a[i] - za) * ((a[i] - za) - (b[i] - zb));
      const double da = a[i] - mean_a;
      const double db = b[i] - mean_b;
      error += (da - db) * (da - db);
      norm += da * da;
    }
    distance.top1 += argmax(a) == argmax(b) ? 1 : 0;
  }
  distance.kl /= static_cast<double>(n_rows);
  distance.top1 /= static_cast<double>(n_rows);
  distance.relative = std::sqrt(error / norm);
  return distance;
}

}  // namespace recalld::testing
