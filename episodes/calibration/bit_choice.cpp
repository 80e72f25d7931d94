#include "episodes/calibration/bit_choice.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "episodes/calibration/layer_attention.h"
#include "quant/calibrated.h"

namespace recalld::episodes {
namespace {

constexpr int32_t kMeasuredKeys = 1024;   // the newest of the text
constexpr int32_t kMeasuredQueries = 64;  // evenly over them
constexpr int32_t kMeasuredPage = 64;
// What the same error of the layer's output does to predictions when it comes from keys, against one from values:
// turboquant-2's keys alone, at 2.71 summed shares, move SmolLM2-135M's by 0.0195 nats, its values alone, at 1.59, by
// 0.0047.
constexpr double kKeyWeight = 2.4;

double distortion(int bits) { return bits == 4 ? 0.0095 : bits == 3 ? 0.0345 : 0.1175; }

// e^T M e summed over rows.
double metric_norm(int d, const quant::Matrix& metric, const std::vector<float>& rows) {
  const auto n = static_cast<size_t>(d);
  double sum = 0;
  for (size_t first = 0; first < rows.size(); first += n)
    for (size_t i = 0; i < n; ++i) {
      double product = 0;
      for (size_t j = 0; j < n; ++j) product += metric[i * n + j] * rows[first + j];
      sum += product * rows[first + i];
    }
  return sum;
}

// Keys and values of all heads, from `position` on, after a codec, head by head.
Result<std::vector<std::vector<float>>> coded_rows(const quant::Codec& codec, int layer, const cache::LayerShape& shape,
                                                   int32_t position, const std::vector<float>& k,
                                                   const std::vector<float>& v, bool keys) {
  const auto row = static_cast<size_t>(shape.n_kv_heads) * static_cast<size_t>(shape.head_dim);
  const auto n_tokens = static_cast<int32_t>(k.size() / row);
  std::vector<float> k_out(k.size()), v_out(v.size());
  for (int32_t first = 0; first < n_tokens; first += kMeasuredPage) {
    quant::PageMeta meta;
    meta.layer = layer;
    meta.rope_start = position + first;
    meta.n_kv_heads = shape.n_kv_heads;
    meta.head_dim = shape.head_dim;
    meta.n_tokens = std::min(kMeasuredPage, n_tokens - first);
    AlignedBuffer page(codec.page_bytes(shape.n_kv_heads, shape.head_dim, meta.n_tokens));
    const size_t at = static_cast<size_t>(first) * row;
    RECALLD_RETURN_IF_ERROR(codec.encode_page(meta, k.data() + at, v.data() + at, page.span()));
    RECALLD_ASSIGN_OR_RETURN(const quant::PageView view, quant::parse_page(page.span()));
    RECALLD_RETURN_IF_ERROR(codec.decode_page(view, k_out.data() + at, v_out.data() + at));
  }
  std::vector<std::vector<float>> heads;
  for (int head = 0; head < shape.n_kv_heads; ++head)
    heads.push_back(head_rows(keys ? k_out : v_out, shape.n_kv_heads, head, shape.head_dim));
  return heads;
}

}  // namespace

std::vector<BitOption> bit_options(const std::vector<const quant::SideMap*>& heads, Dropped dropped) {
  const size_t n_blocks = heads.front()->variances.size() / quant::kBitsBlock;
  // Of a block's numbers when they are coded, by the square of their roots' sum, and when they are left out.
  std::vector<double> coded(n_blocks), left_out(n_blocks);
  for (const quant::SideMap* head : heads)
    for (size_t block = 0; block < n_blocks; ++block) {
      double roots = 0;
      for (size_t i = block * quant::kBitsBlock; i < (block + 1) * quant::kBitsBlock; ++i) {
        roots += std::sqrt(head->variances[i]);
        left_out[block] += head->variances[i];
      }
      coded[block] += roots * roots / quant::kBitsBlock;
    }
  // Widths descend, so an allocation is how many blocks have 4 bits, how many 3 and how many none.
  std::map<size_t, std::pair<double, BitOption>> best;  // by total of block widths
  const auto try_widths = [&](size_t four, size_t three, size_t none) {
    const size_t two = n_blocks - four - three - none;
    const size_t total = 4 * four + 3 * three + 2 * two;
    if (4 * total % n_blocks != 0) return;
    BitOption option;
    double cost = 0;
    for (size_t block = 0; block < n_blocks; ++block) {
      const int bits = block < four ? 4 : block < four + three ? 3 : block < n_blocks - none ? 2 : 0;
      option.bits.push_back(static_cast<uint8_t>(bits));
      cost += bits == 0 ? left_out[block] : coded[block] * distortion(bits);
    }
    option.mean = static_cast<double>(total) / static_cast<double>(n_blocks);
    const auto known = best.find(total);
    if (known == best.end() || cost < known->second.first) best[total] = {cost, std::move(option)};
  };
  const size_t most_dropped = dropped == Dropped::kAllowed ? n_blocks - 1 : 0;
  for (size_t none = 0; none <= most_dropped; ++none)
    for (size_t four = 0; four + none <= n_blocks; ++four)
      for (size_t three = 0; four + three + none <= n_blocks; ++three) try_widths(four, three, none);
  std::vector<BitOption> options;
  for (auto& [total, choice] : best) options.push_back(std::move(choice.second));
  return options;
}

Result<LayerOptions> measure_options(const quant::Calibration& calibration, int layer, const cache::LayerShape& shape,
                                     const LayerCapture& rows, int32_t n_tokens,
                                     const std::vector<quant::Matrix>& output_metric) {
  const int d = shape.head_dim, group = shape.n_heads / shape.n_kv_heads;
  const int32_t first_key = std::max(0, n_tokens - kMeasuredKeys);
  const int32_t span = n_tokens - first_key;
  const int32_t step = std::max(1, (span - span / 8) / kMeasuredQueries);
  const quant::LayerCalibration& maps = calibration.layers[static_cast<size_t>(layer)];
  std::vector<const quant::SideMap*> k_maps, v_maps;
  std::vector<HeadAttention> heads;
  for (int head = 0; head < shape.n_kv_heads; ++head) {
    heads.emplace_back(shape, rows, head, first_key, first_key + span / 8, step);
    k_maps.push_back(&maps.heads[static_cast<size_t>(head)].k);
    v_maps.push_back(&maps.heads[static_cast<size_t>(head)].v);
  }
  std::vector<std::vector<float>> plain;
  double whole = 0;
  for (int head = 0; head < shape.n_kv_heads; ++head)
    for (int g = 0; g < group; ++g) {
      plain.push_back(heads[static_cast<size_t>(head)].outputs(g, nullptr, nullptr));
      whole +=
          metric_norm(d, output_metric[static_cast<size_t>(head) * static_cast<size_t>(group) + static_cast<size_t>(g)],
                      plain.back());
    }
  const auto skip = static_cast<ptrdiff_t>(static_cast<size_t>(first_key) * static_cast<size_t>(shape.n_kv_heads) *
                                           static_cast<size_t>(d));
  const std::vector<float> k(rows.k.begin() + skip, rows.k.end()), v(rows.v.begin() + skip, rows.v.end());

  LayerOptions result{bit_options(k_maps, Dropped::kAllowed), bit_options(v_maps, Dropped::kNone)};
  for (const bool keys : {true, false}) {
    for (BitOption& option : keys ? result.k : result.v) {
      const std::vector<uint8_t>& cheap = (keys ? result.v : result.k).front().bits;
      const quant::LayerBits bits{keys ? option.bits : cheap, keys ? cheap : option.bits};
      RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_calibrated(calibration, layer, bits, "calibrated"));
      RECALLD_ASSIGN_OR_RETURN(auto coded, coded_rows(*codec, layer, shape, first_key, k, v, keys));
      double error = 0;
      for (int head = 0; head < shape.n_kv_heads; ++head) {
        const auto index = static_cast<size_t>(head);
        // First tokens of a text are kept in 16 bits.
        if (first_key == 0)
          std::copy_n((keys ? heads[index].keys() : heads[index].values()).begin(),
                      std::min<size_t>(coded[index].size(), 16 * static_cast<size_t>(d)), coded[index].begin());
        for (int g = 0; g < group; ++g) {
          const size_t at = index * static_cast<size_t>(group) + static_cast<size_t>(g);
          std::vector<float> moved =
              heads[index].outputs(g, keys ? coded[index].data() : nullptr, keys ? nullptr : coded[index].data());
          for (size_t i = 0; i < moved.size(); ++i) moved[i] -= plain[at][i];
          error += metric_norm(d, output_metric[at], moved);
        }
      }
      option.error = whole > 0 ? error / whole * (keys ? kKeyWeight : 1) : 0;
    }
  }
  return result;
}

std::vector<quant::LayerBits> choose_bits(const std::vector<LayerOptions>& layers, double budget) {
  struct Side {
    const std::vector<BitOption>* options;
    size_t chosen = 0;
  };
  std::vector<Side> sides;
  double spent = 0, all = 0;
  for (const LayerOptions& layer : layers)
    for (const auto* options : {&layer.k, &layer.v}) {
      sides.push_back({options});
      const auto dims = static_cast<double>(options->front().bits.size());
      spent += options->front().mean * dims;
      all += dims;
    }
  while (true) {
    Side* best = nullptr;
    size_t next = 0;
    double best_gain = 0;
    for (Side& side : sides) {
      const BitOption& now = (*side.options)[side.chosen];
      const auto dims = static_cast<double>(now.bits.size());
      for (size_t i = side.chosen + 1; i < side.options->size(); ++i) {
        const BitOption& then = (*side.options)[i];
        const double price = (then.mean - now.mean) * dims;
        const double gain = (now.error - then.error) / price;
        if (spent + price > budget * all + 1e-9 || gain <= best_gain) continue;
        best = &side;
        next = i;
        best_gain = gain;
      }
    }
    if (best == nullptr) break;
    spent += ((*best->options)[next].mean - (*best->options)[best->chosen].mean) *
             static_cast<double>(best->options->front().bits.size());
    best->chosen = next;
  }
  std::vector<quant::LayerBits> bits;
  for (size_t i = 0; i < sides.size(); i += 2)
    bits.push_back({(*sides[i].options)[sides[i].chosen].bits, (*sides[i + 1].options)[sides[i + 1].chosen].bits});
  return bits;
}

}  // namespace recalld::episodes
