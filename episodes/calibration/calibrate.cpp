#include "episodes/calibration/calibrate.h"

#include <algorithm>

#include "episodes/calibration/bit_choice.h"
#include "episodes/calibration/moments.h"
#include "runtime/output_matrix.h"

namespace recalld::episodes {
namespace {

constexpr int32_t kLeastTokens = 256;

using Metrics = std::vector<std::vector<quant::Matrix>>;  // [layer][query head]

// Wo^T Wo of each query head's part of the layer's output matrix.
std::vector<quant::Matrix> output_metric(const runtime::Model& model, int layer) {
  const cache::LayerShape& shape = model.cache_shape().layers[static_cast<size_t>(layer)];
  const std::vector<float> weights = runtime::output_matrix(model, layer);
  const auto d = static_cast<size_t>(shape.head_dim), width = static_cast<size_t>(shape.n_heads) * d;
  std::vector<quant::Matrix> metrics(static_cast<size_t>(shape.n_heads), quant::Matrix(d * d));
  for (size_t row = 0; row < weights.size(); row += width)
    for (size_t head = 0; head < metrics.size(); ++head) {
      const float* w = weights.data() + row + head * d;
      for (size_t i = 0; i < d; ++i)
        for (size_t j = 0; j < d; ++j) metrics[head][i * d + j] += static_cast<double>(w[i]) * w[j];
    }
  return metrics;
}

struct Pieces {
  std::vector<std::vector<int32_t>> tokens;
  size_t measured = 0;  // the one that errors are measured on
};

// Equal parts of the texts, cut into pieces; short ends are left out.
Pieces cut(const std::vector<std::vector<int32_t>>& texts, const CalibrationOptions& options) {
  Pieces pieces;
  size_t first_of_text = 0;
  const size_t share = static_cast<size_t>(options.max_tokens) / std::max<size_t>(1, texts.size());
  const auto piece = static_cast<size_t>(options.piece_tokens);
  for (const std::vector<int32_t>& text : texts) {
    const size_t end = std::min(text.size(), share), before = pieces.tokens.size();
    for (size_t first = 0; first < end; first += piece) {
      const size_t count = std::min(piece, end - first);
      if (count >= kLeastTokens)
        pieces.tokens.emplace_back(text.begin() + static_cast<ptrdiff_t>(first),
                                   text.begin() + static_cast<ptrdiff_t>(first + count));
    }
    if (pieces.tokens.size() > before) first_of_text = before;
  }
  // All from one text: the last piece is the farthest from the others.
  pieces.measured = first_of_text > 0 ? first_of_text : pieces.tokens.size() - 1;
  return pieces;
}

}  // namespace

Result<std::shared_ptr<const quant::Calibration>> load_calibration(const std::string& path,
                                                                   const runtime::Model& model) {
  RECALLD_ASSIGN_OR_RETURN(auto loaded, quant::load_calibration(path));
  std::vector<quant::LayerDims> dims;
  for (const cache::LayerShape& layer : model.cache_shape().layers) dims.push_back({layer.n_kv_heads, layer.head_dim});
  RECALLD_RETURN_IF_ERROR(quant::check_calibration(*loaded, model.fingerprint(), dims).with_context(path));
  return loaded;
}

Result<std::shared_ptr<const quant::Calibration>> calibrate(runtime::Engine& engine,
                                                            const std::vector<std::vector<int32_t>>& texts,
                                                            const std::string& names, const CalibrationOptions& options,
                                                            const CalibrationProgress& progress) {
  const runtime::Model& model = engine.model();
  const cache::CacheShape& shape = model.cache_shape();
  const Pieces all = cut(texts, options);
  const std::vector<std::vector<int32_t>>& pieces = all.tokens;
  if (pieces.empty())
    return invalid_argument("the text has fewer than " + std::to_string(kLeastTokens) +
                            " tokens; give a longer one, a few thousand are best");
  const size_t n_layers = shape.layers.size();
  // Rough shares of the time: reading, moments, maps and measuring.
  const double steps = static_cast<double>(pieces.size()) * 2 + 4;
  double done = 0;
  Metrics metrics;
  std::vector<LayerMoments> moments;
  for (size_t layer = 0; layer < n_layers; ++layer) {
    metrics.push_back(output_metric(model, static_cast<int>(layer)));
    moments.emplace_back(shape.layers[layer], metrics.back());
  }
  auto calibration = std::make_shared<quant::Calibration>();
  calibration->model = model.fingerprint();
  calibration->model_name = model.info().name;
  calibration->text = names;
  std::vector<LayerOptions> bit_options;
  for (size_t index = 0; index < pieces.size(); ++index) {
    const std::vector<int32_t>& piece = pieces[index];
    const std::string place = "piece " + std::to_string(index + 1) + " of " + std::to_string(pieces.size());
    RECALLD_ASSIGN_OR_RETURN(const Capture rows, capture(engine, piece, [&](int32_t n) {
                               progress((done + n / static_cast<double>(piece.size())) / steps, "reading " + place);
                             }));
    done += 1;
    const bool measured = index == all.measured;
    const auto add = [&] {
      for (size_t layer = 0; layer < n_layers; ++layer) {
        moments[layer].add(rows.layers[layer], rows.n_tokens);
        progress((done + static_cast<double>(layer + 1) / static_cast<double>(n_layers)) / steps, "adding up " + place);
      }
      done += 1;
    };
    // A text of one piece is measured on itself: there is nothing else.
    if (!measured || pieces.size() == 1) add();
    if (!measured) continue;
    for (size_t layer = 0; layer < n_layers; ++layer) {
      calibration->layers.push_back(moments[layer].calibration(options.damping));
      RECALLD_ASSIGN_OR_RETURN(auto options_of_layer,
                               measure_options(*calibration, static_cast<int>(layer), shape.layers[layer],
                                               rows.layers[layer], rows.n_tokens, metrics[layer]));
      bit_options.push_back(std::move(options_of_layer));
      progress((done + 3 * static_cast<double>(layer + 1) / static_cast<double>(n_layers)) / steps, "measuring errors");
    }
    done += 3;
    if (pieces.size() > 1) add();
  }
  for (size_t layer = 0; layer < n_layers; ++layer) {
    calibration->layers[layer] = moments[layer].calibration(options.damping);
    progress((done + static_cast<double>(layer + 1) / static_cast<double>(n_layers)) / steps, "making maps");
  }
  for (size_t preset = 0; preset < quant::kPresets.size(); ++preset) {
    const std::vector<quant::LayerBits> bits = choose_bits(bit_options, quant::kPresets[preset].bits);
    for (size_t layer = 0; layer < n_layers; ++layer) calibration->layers[layer].bits[preset] = bits[layer];
  }
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, quant::write_calibration(*calibration));
  return quant::parse_calibration(bytes);
}

}  // namespace recalld::episodes
