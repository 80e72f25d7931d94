#include "runtime/model.h"

#include <filesystem>

#include "runtime/architecture.h"
#include "runtime/hparams_reader.h"
#include "runtime/vocabulary.h"
#include "runtime/weights.h"

namespace recalld::runtime {
namespace {

// Changes whenever the same model and text give other keys and values than before.
constexpr uint64_t kNumericsVersion = 2;

Status bind_weights(const Architecture& architecture, const Hparams& hparams, Weights* weights) {
  WeightBinder binder(weights);
  const int64_t n_embd = hparams.n_embd;
  const int64_t n_vocab = hparams.n_vocab;
  weights->token_embd = binder.require("token_embd.weight", {n_embd, n_vocab});
  weights->output_norm = binder.require("output_norm.weight", {n_embd});
  weights->output = binder.optional("output.weight", {n_embd, n_vocab});
  if (weights->output == nullptr) weights->output = weights->token_embd;
  for (const RopeHparams& rope : hparams.ropes) {
    const bool has_factors = !rope.factors.empty();
    weights->rope_factors.push_back(has_factors ? binder.require("rope_freqs.weight", {rope.n_dims / 2}) : nullptr);
  }
  weights->layers.resize(hparams.layers.size());
  for (size_t i = 0; i < weights->layers.size(); ++i) {
    architecture.bind_layer(binder, hparams, static_cast<int>(i), &weights->layers[i]);
  }
  return binder.finish();
}

cache::CacheShape make_shape(const Hparams& hparams) {
  std::vector<std::shared_ptr<const kernels::RopeSpec>> ropes;
  for (const RopeHparams& rope : hparams.ropes) ropes.push_back(std::make_shared<kernels::RopeSpec>(rope_spec(rope)));
  cache::CacheShape shape;
  for (const LayerHparams& layer : hparams.layers) {
    shape.layers.push_back({.n_heads = layer.n_heads,
                            .n_kv_heads = layer.n_kv_heads,
                            .head_dim = layer.head_dim,
                            .window = layer.window,
                            .scale = layer.attention_scale,
                            .rope = ropes[static_cast<size_t>(layer.rope)]});
  }
  return shape;
}

}  // namespace

Model::Model() = default;
Model::~Model() = default;

Result<std::shared_ptr<const Model>> Model::load(const ModelOptions& options) {
  std::shared_ptr<Model> model(new Model());
  RECALLD_ASSIGN_OR_RETURN(model->file_, GgufFile::open(options.path, options.file));
  const GgufFile& file = *model->file_;
  const std::string context = "model file '" + options.path + "'";
  const std::string name = file.get_string("general.architecture").value_or("");
  model->architecture_ = find_architecture(name);
  if (model->architecture_ == nullptr) {
    return unsupported(context + ": architecture '" + name + "' is not supported; supported are " +
                       supported_architectures());
  }
  const auto in_file = [&context](const Status& status) { return status.with_context(context); };
  auto vocabulary = Vocabulary::load(file);
  if (!vocabulary.ok()) return in_file(vocabulary.status());
  model->vocabulary_ = std::move(vocabulary).value();
  auto hparams = read_hparams(file, *model->architecture_, model->vocabulary_->size());
  if (!hparams.ok()) return in_file(hparams.status());
  model->hparams_ = std::make_unique<Hparams>(std::move(hparams).value());
  auto weights = Weights::create(file);
  if (!weights.ok()) return in_file(weights.status());
  model->weights_ = std::move(weights).value();
  if (Status status = bind_weights(*model->architecture_, *model->hparams_, model->weights_.get()); !status.ok()) {
    return in_file(status);
  }
  model->describe();
  return std::shared_ptr<const Model>(std::move(model));
}

void Model::describe() {
  const std::string stem = std::filesystem::path(file_->path()).stem().string();
  info_.path = file_->path();
  info_.architecture = architecture_->name();
  info_.name = file_->get_string("general.name").value_or(stem);
  info_.n_ctx_train = hparams_->n_ctx_train;
  info_.n_vocab = hparams_->n_vocab;
  info_.n_embd = hparams_->n_embd;
  info_.n_layers = static_cast<int32_t>(hparams_->layers.size());
  info_.file_bytes = file_->size();
  info_.weights = file_->digest();
  info_.tokenizer = file_->metadata_digest("tokenizer.");
  info_.chat_template = file_->get_string("tokenizer.chat_template").value_or("");
  shape_ = make_shape(*hparams_);

  Digester digester;
  digester.add(uint64_t{kNumericsVersion});
  digester.add(info_.weights.low);
  digester.add(info_.weights.high);
  digester.add(info_.tokenizer.low);
  digester.add(info_.tokenizer.high);
  for (const RopeHparams& rope : hparams_->ropes) {
    const kernels::RopeSpec spec = rope_spec(rope);
    digester.add(uint64_t{spec.neox});
    digester.add(std::as_bytes(std::span(spec.inv_freq)));
  }
  fingerprint_ = digester.finish();
}

const llama_vocab* Model::vocab() const { return vocabulary_->get(); }

}  // namespace recalld::runtime
