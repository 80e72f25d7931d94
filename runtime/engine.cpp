#include "runtime/engine.h"

#include <algorithm>

#include "runtime/compute.h"
#include "runtime/step_plan.h"

namespace recalld::runtime {
namespace {

constexpr int kMaxThreads = 512;
constexpr int kMaxUbatch = 8192;
// Logits of every token are wide: [n_tokens][n_vocab]. Smaller pieces keep the buffer of activations small.
constexpr int kUbatchWithAllOutputs = 64;

bool same_shape(const cache::CacheShape& a, const cache::CacheShape& b) {
  if (&a == &b) return true;
  return std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(),
                    [](const cache::LayerShape& x, const cache::LayerShape& y) {
                      return x.n_heads == y.n_heads && x.n_kv_heads == y.n_kv_heads && x.head_dim == y.head_dim;
                    });
}

// Appends each output row to the vector of the request it belongs to. rows: [n_outputs][width], or empty.
void hand_out(std::span<const StepRequest> requests, const StepPiece& piece, std::span<const float> rows,
              std::vector<float>* StepRequest::*target) {
  if (rows.empty()) return;
  const size_t width = rows.size() / piece.output_requests.size();
  for (size_t i = 0; i < piece.output_requests.size(); ++i) {
    std::vector<float>* out = requests[static_cast<size_t>(piece.output_requests[i])].*target;
    if (out == nullptr) continue;
    const auto row = rows.subspan(i * width, width);
    out->insert(out->end(), row.begin(), row.end());
  }
}

}  // namespace

struct Engine::Impl {
  std::shared_ptr<const Model> model;
  EngineOptions options;
  std::vector<SequencePart> parts;
  std::unique_ptr<Compute> compute;
  std::vector<int32_t> tokens;
  std::vector<int32_t> positions;

  Status check(std::span<const StepRequest> requests) const;
  Status check(const StepRequest& request) const;
  Status run_piece(std::span<const StepRequest> requests, const StepPiece& piece, const std::atomic<bool>* cancel);
  void gather(std::span<const StepRequest> requests, const StepPiece& piece);
  Status begin();
  void end(size_t n_begun, bool keep);
  GraphShape shape_of(std::span<const StepRequest> requests, const StepPiece& piece) const;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Model> model, const EngineOptions& options) {
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return invalid_argument("threads is " + std::to_string(options.threads) + "; use 1 to " +
                            std::to_string(kMaxThreads));
  }
  if (options.ubatch < 1 || options.ubatch > kMaxUbatch) {
    return invalid_argument("ubatch is " + std::to_string(options.ubatch) + "; use 1 to " + std::to_string(kMaxUbatch));
  }
  const int32_t window = model->info().n_ctx_train;
  if (options.context < 0 || options.context > window) {
    return invalid_argument("context is " + std::to_string(options.context) + "; use 0 to " + std::to_string(window) +
                            ", the model's window");
  }
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (options.context == 0) impl->options.context = window;
  RECALLD_ASSIGN_OR_RETURN(impl->compute, Compute::create(*model, options.threads, &impl->parts));
  impl->model = std::move(model);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const Model& Engine::model() const { return *impl_->model; }
const EngineOptions& Engine::options() const { return impl_->options; }
int32_t Engine::context() const { return impl_->options.context; }
size_t Engine::compute_bytes() const { return impl_->compute->bytes(); }

Status Engine::Impl::check(const StepRequest& request) const {
  if (request.sequence == nullptr || request.tokens.empty())
    return invalid_argument("a step needs a sequence and tokens");
  if (request.outputs != Outputs::kNone && request.logits == nullptr && request.hidden == nullptr) {
    return invalid_argument("a step that wants outputs needs a place for the logits or the states");
  }
  if (!same_shape(request.sequence->shape(), model->cache_shape())) {
    return invalid_argument("the sequence was made for another model");
  }
  const int64_t end = int64_t{request.sequence->length()} + static_cast<int64_t>(request.tokens.size());
  if (end > options.context) {
    return too_large("the text would reach position " + std::to_string(end) + ", past the window of " +
                     std::to_string(options.context) + " tokens; shorten it");
  }
  const int32_t n_vocab = model->info().n_vocab;
  for (const int32_t token : request.tokens) {
    if (token < 0 || token >= n_vocab) {
      return invalid_argument("token " + std::to_string(token) + " is outside the vocabulary of " +
                              std::to_string(n_vocab));
    }
  }
  return ok_status();
}

Status Engine::Impl::check(std::span<const StepRequest> requests) const {
  if (requests.empty()) return invalid_argument("a step needs at least one request");
  for (size_t i = 0; i < requests.size(); ++i) {
    RECALLD_RETURN_IF_ERROR(check(requests[i]));
    for (size_t j = 0; j < i; ++j) {
      if (requests[j].sequence == requests[i].sequence) return invalid_argument("a sequence stands twice in one step");
    }
  }
  return ok_status();
}

void Engine::Impl::gather(std::span<const StepRequest> requests, const StepPiece& piece) {
  parts.clear();
  tokens.clear();
  positions.clear();
  for (const StepPiece::Part& part : piece.parts) {
    const StepRequest& request = requests[static_cast<size_t>(part.request)];
    parts.push_back({.sequence = request.sequence, .first = part.row, .n_tokens = part.n_tokens});
    const auto own = request.tokens.subspan(static_cast<size_t>(part.first), static_cast<size_t>(part.n_tokens));
    tokens.insert(tokens.end(), own.begin(), own.end());
    for (int32_t i = 0; i < part.n_tokens; ++i) positions.push_back(request.sequence->length() + i);
  }
}

Status Engine::Impl::begin() {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (Status status = parts[i].sequence->begin_step(parts[i].n_tokens); !status.ok()) {
      end(i, false);
      return status;
    }
  }
  return ok_status();
}

void Engine::Impl::end(size_t n_begun, bool keep) {
  for (size_t i = 0; i < n_begun; ++i) parts[i].sequence->end_step(keep);
}

GraphShape Engine::Impl::shape_of(std::span<const StepRequest> requests, const StepPiece& piece) const {
  GraphShape shape{.n_tokens = piece.n_tokens, .n_outputs = static_cast<int>(piece.output_rows.size())};
  for (const int request : piece.output_requests) {
    shape.logits |= requests[static_cast<size_t>(request)].logits != nullptr;
    shape.hidden |= requests[static_cast<size_t>(request)].hidden != nullptr;
  }
  return shape;
}

Status Engine::Impl::run_piece(std::span<const StepRequest> requests, const StepPiece& piece,
                               const std::atomic<bool>* cancel) {
  gather(requests, piece);
  RECALLD_ASSIGN_OR_RETURN(Graph * graph, compute->graph(shape_of(requests, piece)));
  graph->set_inputs(tokens, positions, piece.output_rows);
  RECALLD_RETURN_IF_ERROR(begin());
  const Status status = compute->run(*graph, cancel);
  end(parts.size(), status.ok());
  if (!status.ok()) return status;
  hand_out(requests, piece, graph->logits(), &StepRequest::logits);
  hand_out(requests, piece, graph->hidden(), &StepRequest::hidden);
  return ok_status();
}

Status Engine::step(std::span<const StepRequest> requests, const std::atomic<bool>* cancel) {
  RECALLD_RETURN_IF_ERROR(impl_->check(requests));
  int ubatch = impl_->options.ubatch;
  std::vector<int32_t> lengths;
  for (const StepRequest& request : requests) {
    lengths.push_back(request.sequence->length());
    if (request.logits != nullptr) request.logits->clear();
    if (request.hidden != nullptr) request.hidden->clear();
    if (request.outputs != Outputs::kAll || request.logits == nullptr) continue;
    ubatch = std::min(ubatch, kUbatchWithAllOutputs);
    request.logits->reserve(request.tokens.size() * static_cast<size_t>(impl_->model->info().n_vocab));
  }
  for (const StepPiece& piece : plan_step(requests, ubatch)) {
    Status status = impl_->run_piece(requests, piece, cancel);
    if (status.ok()) continue;
    for (size_t i = 0; i < requests.size(); ++i) {
      if (Status undone = requests[i].sequence->truncate(lengths[i]); !undone.ok()) return undone;
    }
    return status;
  }
  return ok_status();
}

}  // namespace recalld::runtime
