// Archives of Gaussian rows and of a model's keys and values: bits per number with all bytes counted, error, time of
// one core.

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "bench/report.h"
#include "episodes/calibration/capture.h"
#include "quant/archive.h"
#include "quant/none16.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {
namespace {

struct Shape {
  int n_layers, n_kv_heads, head_dim, n_tokens;
  size_t row() const { return static_cast<size_t>(n_kv_heads) * static_cast<size_t>(head_dim); }
};

// Rows of a layer's side: 0 keys, 1 values.
using Rows = std::function<const float*(int layer, int side)>;

void must(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.to_string());
}

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

class Tally {
 public:
  void add(const Shape& shape, int rope_start, const Rows& rows, const quant::ArchiveOptions& options) {
    const quant::None16 none16;
    const size_t size = none16.page_bytes(shape.n_kv_heads, shape.head_dim, shape.n_tokens);
    AlignedBuffer pages(size * static_cast<size_t>(shape.n_layers)), back(pages.size());
    const auto page = [&](AlignedBuffer& of, int layer) {
      return of.span().subspan(static_cast<size_t>(layer) * size, size);
    };
    for (int layer = 0; layer < shape.n_layers; ++layer) {
      quant::PageMeta meta;
      meta.layer = layer;
      meta.n_kv_heads = shape.n_kv_heads;
      meta.head_dim = shape.head_dim;
      meta.n_tokens = shape.n_tokens;
      meta.rope_start = rope_start;
      must(none16.encode_page(meta, rows(layer, 0), rows(layer, 1), page(pages, layer)));
    }
    const double start = seconds();
    const auto archive = quant::encode_archive(pages.span(), options);
    must(archive.status());
    const double encoded = seconds();
    must(quant::decode_archive(*archive, back.span()));
    decode_seconds_ += seconds() - encoded;
    encode_seconds_ += encoded - start;
    bytes_ += static_cast<double>(archive->size());
    std::vector<float> k(shape.row() * static_cast<size_t>(shape.n_tokens)), v(k.size());
    numbers_ += 2.0 * static_cast<double>(k.size()) * shape.n_layers;
    for (int layer = 0; layer < shape.n_layers; ++layer) {
      must(none16.decode_page(quant::parse_page(page(back, layer)).value(), k.data(), v.data()));
      compare(shape, rows(layer, 0), k.data(), true);
      compare(shape, rows(layer, 1), v.data(), false);
    }
  }

  void report(const std::string& name, Report& report) const {
    report.add("bits_" + name, 8 * bytes_ / numbers_, "bits/number");
    report.add("error_k_" + name, errors_[0] / energies_[0], "of energy", "the mean of the page");
    report.add("error_v_" + name, errors_[1] / energies_[1], "of energy");
    report.add("encode_" + name, numbers_ / encode_seconds_ / 1e6, "million numbers/s");
    report.add("decode_" + name, numbers_ / decode_seconds_ / 1e6, "million numbers/s");
  }

 private:
  void compare(const Shape& shape, const float* x, const float* back, bool keys) {
    std::vector<double> mean(shape.row());
    const size_t n = shape.row() * static_cast<size_t>(shape.n_tokens);
    for (size_t i = 0; i < n && keys; ++i) mean[i % shape.row()] += static_cast<double>(x[i]) / shape.n_tokens;
    const size_t side = keys ? 0 : 1;
    for (size_t i = 0; i < n; ++i) {
      errors_[side] += std::pow(static_cast<double>(x[i]) - back[i], 2);
      energies_[side] += std::pow(x[i] - mean[i % shape.row()], 2);
    }
  }

  double bytes_ = 0, numbers_ = 0, encode_seconds_ = 0, decode_seconds_ = 0;
  double errors_[2] = {}, energies_[2] = {};  // keys, values
};

void add_gaussian(Report& report) {
  for (const Shape& shape : {Shape{30, 3, 64, 64}, Shape{16, 4, 128, 64}, Shape{16, 2, 256, 64}}) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> sides(2 * static_cast<size_t>(shape.n_layers));
    for (auto& side : sides) {
      side.resize(shape.row() * static_cast<size_t>(shape.n_tokens));
      for (float& x : side) x = normal(random);
    }
    Tally tally;
    tally.add(shape, 0, [&](int layer, int side) { return sides[static_cast<size_t>(2 * layer + side)].data(); }, {});
    tally.report("gaussian_" + std::to_string(shape.head_dim), report);
  }
}

// The first tokens are left out, as the cache keeps them in 16 bits.
constexpr int kPinned = 16;

void add_model(const std::string& path, const std::string& text_path, int n_tokens, Report& report) {
  runtime::ModelOptions options;
  options.path = path;
  const auto model = runtime::Model::load(options);
  must(model.status());
  const auto engine = runtime::Engine::create(*model, {});
  must(engine.status());
  std::ifstream file(text_path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<int32_t> ids = runtime::Tokenizer(*model).tokenize(text);
  if (ids.size() > static_cast<size_t>(n_tokens)) ids.resize(static_cast<size_t>(n_tokens));
  const auto captured = episodes::capture(**engine, ids, [](int32_t) {});
  must(captured.status());
  const cache::CacheShape& cache = (*model)->cache_shape();
  for (const int length : {24, 64, 256})
    for (const bool turned : {false, true}) {
      quant::ArchiveOptions archive;
      if (turned) archive.rope = *cache.layers.front().rope;
      const Shape shape{static_cast<int>(cache.layers.size()), cache.layers.front().n_kv_heads,
                        cache.layers.front().head_dim, length};
      Tally tally;
      for (int first = kPinned; first + length <= captured->n_tokens; first += length)
        tally.add(
            shape, first,
            [&](int layer, int side) {
              const episodes::LayerCapture& rows = captured->layers[static_cast<size_t>(layer)];
              return (side == 0 ? rows.k : rows.v).data() + static_cast<size_t>(first) * shape.row();
            },
            archive);
      tally.report("model_" + std::to_string(length) + (turned ? "_turned" : ""), report);
    }
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  const char* from_environment = std::getenv("RECALLD_MODEL");
  std::string model = from_environment != nullptr ? from_environment : "", text = "data/sample_prose.txt";
  int tokens = 1024;
  CLI::App app("Archives: bits, error, time");
  app.add_option("--model", model, "GGUF of one shape in all layers; empty: Gaussian rows alone");
  app.add_option("--text", text, "text that the model reads");
  app.add_option("--tokens", tokens, "tokens of it");
  CLI11_PARSE(app, argc, argv);
  try {
    recalld::bench::Report report("archive", std::filesystem::path(model).filename().string());
    recalld::bench::add_gaussian(report);
    if (!model.empty()) recalld::bench::add_model(model, text, tokens, report);
    return report.finish();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
