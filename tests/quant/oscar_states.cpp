// What a model's attention sees of a text, and what OSCAR's codec makes of it, as raw files for oscar_reference.py.
//
// usage: oscar_states MODEL TEXT TOKENS FOLDER LAYER...
// TEXT is read in two pieces of TOKENS tokens. For each LAYER, in FOLDER/LAYER: piece-0-q, -k, -v and piece-1-q, -k, -v
// (f32, [token][head][dim]), rotation-k and rotation-v (f32, [dim][dim], as they come back from a calibration file),
// and pages (of piece 0 from its 17th token on, 64 tokens each, docs/page-format.md). FOLDER/shape: text, one line of
// "heads kv_heads head_dim".
#include <filesystem>
#include <fstream>
#include <iostream>

#include "episodes/calibration/capture.h"
#include "episodes/calibration/moments.h"
#include "quant/oscar.h"
#include "runtime/tokenizer.h"

namespace recalld {
namespace {

constexpr int32_t kPageTokens = 64;

template <class Number>
Status write(const std::filesystem::path& path, std::span<const Number> numbers) {
  std::ofstream file(path, std::ios::binary);
  const auto bytes = std::as_bytes(numbers);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return file.flush() ? ok_status() : storage_full("cannot write " + path.string());
}

Status write(const std::filesystem::path& path, const std::vector<float>& numbers) {
  return write<float>(path, std::span(numbers));
}

// OSCAR's rotations alone: what the other maps need of the model's output matrices is left at one.
quant::LayerCalibration calibration_of(const cache::LayerShape& shape, int layer,
                                       const std::vector<episodes::Capture>& pieces) {
  const auto d = static_cast<size_t>(shape.head_dim);
  quant::Matrix one(d * d);
  for (size_t i = 0; i < d; ++i) one[i * d + i] = 1;
  episodes::LayerMoments moments(shape, std::vector(static_cast<size_t>(shape.n_heads), one));
  for (const episodes::Capture& piece : pieces) moments.add(piece.layers[static_cast<size_t>(layer)], piece.n_tokens);
  quant::LayerCalibration made = moments.calibration(0.01);
  for (quant::LayerBits& bits : made.bits) bits.k = bits.v = std::vector<uint8_t>(d / quant::kBitsBlock, 2);
  return made;
}

Result<std::vector<std::byte>> pages_of(const quant::Codec& codec, int layer, const cache::LayerShape& shape,
                                        const episodes::Capture& piece, int captured_layer) {
  const episodes::LayerCapture& rows = piece.layers[static_cast<size_t>(captured_layer)];
  const auto width = static_cast<size_t>(shape.n_kv_heads) * static_cast<size_t>(shape.head_dim);
  std::vector<std::byte> pages;
  for (int32_t first = episodes::kSkippedTokens; first + kPageTokens <= piece.n_tokens; first += kPageTokens) {
    quant::PageMeta meta;
    meta.layer = layer;
    meta.n_kv_heads = shape.n_kv_heads;
    meta.head_dim = shape.head_dim;
    meta.n_tokens = kPageTokens;
    meta.rope_start = first;
    meta.token_start = first;
    AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
    const size_t at = static_cast<size_t>(first) * width;
    RECALLD_RETURN_IF_ERROR(codec.encode_page(meta, rows.k.data() + at, rows.v.data() + at, page.span()));
    pages.insert(pages.end(), page.data(), page.data() + page.size());
  }
  return pages;
}

Status run(const std::string& model_path, const std::string& text_path, int32_t tokens,
           const std::filesystem::path& folder, const std::vector<int>& layers) {
  runtime::ModelOptions options;
  options.path = model_path;
  RECALLD_ASSIGN_OR_RETURN(const auto model, runtime::Model::load(options));
  RECALLD_ASSIGN_OR_RETURN(const auto engine, runtime::Engine::create(model, {}));
  std::ifstream file(text_path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::vector<int32_t> ids = runtime::Tokenizer(model).tokenize(text);
  const auto count = static_cast<size_t>(tokens);
  if (ids.size() < 2 * count) return invalid_argument(text_path + " is too short");
  std::vector<episodes::Capture> pieces;
  for (const size_t first : {size_t{0}, count}) {
    RECALLD_ASSIGN_OR_RETURN(episodes::Capture piece,
                             episodes::capture(*engine, std::span(ids).subspan(first, count), [](int32_t) {}));
    pieces.push_back(std::move(piece));
  }
  quant::Calibration made;
  for (const int layer : layers)
    made.layers.push_back(calibration_of(model->cache_shape().layers.at(static_cast<size_t>(layer)), layer, pieces));
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, quant::write_calibration(made));
  RECALLD_ASSIGN_OR_RETURN(const auto calibration, quant::parse_calibration(bytes));
  for (size_t i = 0; i < layers.size(); ++i) {
    const cache::LayerShape& shape = model->cache_shape().layers[static_cast<size_t>(layers[i])];
    const std::filesystem::path to = folder / std::to_string(layers[i]);
    std::filesystem::create_directories(to);
    std::ofstream(folder / "shape") << shape.n_heads << " " << shape.n_kv_heads << " " << shape.head_dim << "\n";
    for (size_t piece = 0; piece < pieces.size(); ++piece) {
      const episodes::LayerCapture& rows = pieces[piece].layers[static_cast<size_t>(layers[i])];
      const std::string name = "piece-" + std::to_string(piece);
      RECALLD_RETURN_IF_ERROR(write(to / (name + "-q"), rows.q));
      RECALLD_RETURN_IF_ERROR(write(to / (name + "-k"), rows.k));
      RECALLD_RETURN_IF_ERROR(write(to / (name + "-v"), rows.v));
    }
    RECALLD_RETURN_IF_ERROR(write(to / "rotation-k", calibration->layers[i].oscar_k));
    RECALLD_RETURN_IF_ERROR(write(to / "rotation-v", calibration->layers[i].oscar_v));
    RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_oscar(*calibration, static_cast<int>(i)));
    RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> pages,
                             pages_of(*codec, static_cast<int>(i), shape, pieces[0], layers[i]));
    RECALLD_RETURN_IF_ERROR(write<std::byte>(to / "pages", std::span(pages)));
  }
  return ok_status();
}

}  // namespace
}  // namespace recalld

int main(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: oscar_states MODEL TEXT TOKENS FOLDER LAYER...\n";
    return 2;
  }
  std::vector<int> layers;
  for (int i = 5; i < argc; ++i) layers.push_back(std::stoi(argv[i]));
  const recalld::Status status = recalld::run(argv[1], argv[2], std::stoi(argv[3]), argv[4], layers);
  if (!status.ok()) std::cerr << status.to_string() << "\n";
  return status.ok() ? 0 : 1;
}
