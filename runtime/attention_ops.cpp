#include "runtime/attention_ops.h"

namespace recalld::runtime {
namespace {

const float* row(const ggml_tensor* tensor, int32_t index) {
  return reinterpret_cast<const float*>(static_cast<const char*>(tensor->data) +
                                        static_cast<size_t>(index) * tensor->nb[2]);
}

}  // namespace

void AttentionOps::run_store(ggml_tensor* out, int ith, int nth, void* layer) {
  const Layer& self = *static_cast<const Layer*>(layer);
  for (const SequencePart& part : *self.parts) {
    part.sequence->store(self.layer, row(out->src[0], part.first), row(out->src[1], part.first), ith, nth);
  }
}

void AttentionOps::run_attend(ggml_tensor* out, int ith, int nth, void* layer) {
  const Layer& self = *static_cast<const Layer*>(layer);
  for (const SequencePart& part : *self.parts) {
    part.sequence->attend_partial(self.layer, row(out->src[1], part.first), ith, nth);
  }
}

void AttentionOps::run_finish(ggml_tensor* out, int ith, int nth, void* layer) {
  const Layer& self = *static_cast<const Layer*>(layer);
  for (const SequencePart& part : *self.parts) {
    auto* rows = reinterpret_cast<float*>(static_cast<char*>(out->data) + static_cast<size_t>(part.first) * out->nb[1]);
    part.sequence->attend_finish(self.layer, rows, ith, nth);
  }
}

ggml_tensor* AttentionOps::store(ggml_context* context, int layer, ggml_tensor* k, ggml_tensor* v) {
  layers_.push_back({parts_, layer});
  ggml_tensor* args[] = {k, v};
  return ggml_custom_4d(context, GGML_TYPE_F32, 1, 1, 1, 1, args, 2, run_store, GGML_N_TASKS_MAX, &layers_.back());
}

ggml_tensor* AttentionOps::attend(ggml_context* context, int layer, ggml_tensor* stored, ggml_tensor* q) {
  layers_.push_back({parts_, layer});
  ggml_tensor* attend_args[] = {stored, q};
  ggml_tensor* attended =
      ggml_custom_4d(context, GGML_TYPE_F32, 1, 1, 1, 1, attend_args, 2, run_attend, GGML_N_TASKS_MAX, &layers_.back());
  ggml_tensor* finish_args[] = {attended};
  return ggml_custom_4d(context, GGML_TYPE_F32, q->ne[0] * q->ne[1], q->ne[2], 1, 1, finish_args, 1, run_finish,
                        GGML_N_TASKS_MAX, &layers_.back());
}

}  // namespace recalld::runtime
