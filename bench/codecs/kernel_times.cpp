#include "bench/codecs/kernel_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>

#include "bench/codecs/stock_cache.h"
#include "quant/codec.h"

namespace recalld::bench {
namespace {

// Caches that are attended in turn: more than a processor's cache holds, as the layers of a model are.
constexpr int kLayers = 24;

double nanoseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::vector<float> normal_rows(int n_rows, int width) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<size_t>(n_rows) * static_cast<size_t>(width));
  for (float& value : rows) value = normal(random);
  return rows;
}

// Something to time; both calls do the whole work once.
struct Arm {
  std::string name;
  std::function<void()> encode;
  std::function<void(int layer)> attend;
  std::vector<double> encode_times, attend_times;
};

// Layers of coded pages and what attending to them needs.
class CodedLayers {
 public:
  CodedLayers(const KernelShape& shape, const quant::Codec& codec, const std::vector<float>& rows)
      : shape_(shape), codec_(codec), rows_(rows) {
    meta_.n_kv_heads = shape.n_kv_heads;
    meta_.head_dim = shape.head_dim;
    meta_.n_tokens = shape.page_tokens;
    const size_t bytes = codec.page_bytes(shape.n_kv_heads, shape.head_dim, shape.page_tokens);
    for (int layer = 0; layer < kLayers; ++layer)
      for (int first = 0; first + shape.page_tokens <= shape.n_keys; first += shape.page_tokens)
        pages_.emplace_back(bytes);
    encode_from(0, pages_.size());
    collect_slices();
    const size_t values = static_cast<size_t>(shape.n_group) * static_cast<size_t>(shape.head_dim);
    q_ = normal_rows(shape.n_group, shape.head_dim);
    transformed_.resize(values);
    acc_.resize(values);
    m_.resize(static_cast<size_t>(shape.n_group));
    l_.resize(static_cast<size_t>(shape.n_group));
  }

  size_t pages_per_layer() const { return pages_.size() / kLayers; }

  void encode_from(size_t first, size_t count) {
    const size_t values = static_cast<size_t>(shape_.page_tokens) * row_values();
    for (size_t i = first; i < first + count; ++i) {
      const float* k = rows_.data() + i % pages_per_layer() * values;
      const Status status = codec_.encode_page(meta_, k, k, pages_[i].span());
      if (!status.ok()) throw std::runtime_error(status.to_string());
    }
  }

  void attend(int layer) {
    const int32_t position = shape_.n_keys;
    const float scale = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
    for (int head = 0; head < shape_.n_kv_heads; ++head) {
      codec_.transform_queries(layer, head, shape_.head_dim, shape_.n_group, q_.data(), transformed_.data());
      const kernels::AttendState state{1, m_.data(), l_.data(), acc_.data()};
      kernels::reset_state(state, shape_.n_group, shape_.head_dim);
      kernels::attend(
          {shape_.head_dim, shape_.n_group, scale, 0}, {1, &position, transformed_.data()},
          slices_[static_cast<size_t>(layer) * static_cast<size_t>(shape_.n_kv_heads) + static_cast<size_t>(head)],
          state, scratch_);
      codec_.restore_outputs(layer, head, shape_.head_dim, shape_.n_group, acc_.data());
    }
  }

 private:
  size_t row_values() const { return static_cast<size_t>(shape_.n_kv_heads) * static_cast<size_t>(shape_.head_dim); }

  void collect_slices() {
    for (size_t layer = 0; layer < kLayers; ++layer) {
      for (int head = 0; head < shape_.n_kv_heads; ++head) {
        std::vector<kernels::PageSlice>& slices = slices_.emplace_back();
        for (size_t page = 0; page < pages_per_layer(); ++page) {
          const auto view = quant::parse_page(pages_[layer * pages_per_layer() + page].span());
          if (!view.ok()) throw std::runtime_error(view.status().to_string());
          slices.push_back(view->slice(head));
          slices.back().k_mean = codec_.key_mean(head) != nullptr ? codec_.key_mean(head) : slices.back().k_mean;
          slices.back().view_start = static_cast<int32_t>(page) * shape_.page_tokens;
        }
      }
    }
  }

  const KernelShape& shape_;
  const quant::Codec& codec_;
  const std::vector<float>& rows_;
  quant::PageMeta meta_;
  std::vector<AlignedBuffer> pages_;
  std::vector<std::vector<kernels::PageSlice>> slices_;
  std::vector<float> q_, transformed_, acc_, m_, l_;
  kernels::AttendScratch scratch_;
};

}  // namespace

std::vector<KernelTimes> measure_kernels(const KernelShape& shape, const std::vector<std::string>& codecs) {
  const int width = shape.n_kv_heads * shape.head_dim;
  const std::vector<float> rows = normal_rows(shape.n_keys, width);
  std::vector<std::unique_ptr<CodedLayers>> ours;
  std::vector<std::shared_ptr<const quant::Codec>> kept;
  std::vector<std::unique_ptr<StockAttention>> stock;
  std::vector<std::byte> coded;
  std::vector<Arm> arms;
  for (const std::string& name : codecs) {
    kept.push_back(quant::make_codec(name).value());
    ours.push_back(std::make_unique<CodedLayers>(shape, *kept.back(), rows));
    CodedLayers* layers = ours.back().get();
    arms.push_back({name,
                    [layers] { layers->encode_from(0, layers->pages_per_layer()); },
                    [layers](int layer) { layers->attend(layer); },
                    {},
                    {}});
  }
  const std::vector<StockType> types = stock_types();
  for (const StockType& type : types) {
    stock.push_back(
        std::make_unique<StockAttention>(type, shape.n_kv_heads, shape.n_group, shape.head_dim, shape.n_keys, kLayers));
    StockAttention* attention = stock.back().get();
    arms.push_back({type.name,
                    [&] {
                      stock_encode(type, shape.n_keys, width, rows.data(), coded);
                      stock_encode(type, shape.n_keys, width, rows.data(), coded);
                    },
                    [attention](int layer) { attention->attend(layer); },
                    {},
                    {}});
  }
  const double vectors = 2.0 * shape.n_keys * shape.n_kv_heads;
  const double keys = static_cast<double>(kLayers) * shape.n_keys * shape.n_kv_heads;
  for (int repeat = 0; repeat < shape.repeats; ++repeat) {
    for (Arm& arm : arms) {
      arm.encode_times.push_back(nanoseconds(arm.encode) / vectors);
      arm.attend_times.push_back(nanoseconds([&] {
                                   for (int layer = 0; layer < kLayers; ++layer) arm.attend(layer);
                                 }) /
                                 keys);
    }
  }
  std::vector<KernelTimes> times;
  times.reserve(arms.size());
  for (const Arm& arm : arms) times.push_back({arm.name, median(arm.encode_times), median(arm.attend_times)});
  return times;
}

}  // namespace recalld::bench
