// A calibration file, and the codecs made of it.
#include <cstring>
#include <stdexcept>

#include "quant/codec.h"
#include "tests/fuzz/exact_buffer.h"
#include "tests/fuzz/targets.h"
#include "tests/quant/calibration_fixture.h"
#include "tests/quant/vectors.h"

namespace recalld::testing {
namespace {

constexpr size_t kMaxBytes = 16384;

std::vector<Bytes> seeds() {
  std::vector<Bytes> files;
  for (const auto& [head_dim, heads] : {std::pair{16, 1}, std::pair{16, 2}, std::pair{32, 1}, std::pair{48, 1}}) {
    quant::Calibration calibration = random_calibration(head_dim, heads);
    if (head_dim > 16) calibration.layers.pop_back();
    if (head_dim == 48) calibration.layers[0].bits[0].v.back() = 0;
    files.push_back(quant::write_calibration(calibration).value());
  }
  std::erase_if(files, [](const Bytes& file) { return file.size() > kMaxBytes; });
  return files;
}

void use(const quant::Codec& codec, int layer, const quant::LayerCalibration& of_layer) {
  quant::PageMeta meta;
  meta.layer = layer;
  meta.n_kv_heads = static_cast<int32_t>(of_layer.heads.size());
  meta.head_dim = of_layer.head_dim;
  meta.n_tokens = 2;
  const int width = meta.n_kv_heads * meta.head_dim;
  const auto rows = vectors(Kind::kStudentT, meta.n_tokens, width, 3);
  AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  std::vector<float> k(rows.size()), v(rows.size());
  if (!codec.encode_page(meta, rows.data(), rows.data(), page.span()).ok())
    throw std::logic_error("a codec does not take the rows that its calibration is for");
  const auto view = quant::verify_page(page.span());
  if (!view.ok() || !codec.decode_page(*view, k.data(), v.data()).ok())
    throw std::logic_error("a codec does not read the page that it wrote");
  codec.transform_queries(layer, 0, meta.head_dim, 1, rows.data(), k.data());
  codec.restore_outputs(layer, 0, meta.head_dim, 1, v.data());
}

bool read(std::span<const std::byte> bytes) {
  ExactBuffer copy(bytes);
  const auto calibration = quant::parse_calibration(copy.span());
  if (!calibration.ok()) return false;
  const auto& layers = (*calibration)->layers;
  for (const std::string& name : quant::calibrated_codec_names()) {
    const auto codecs = quant::make_codecs(name, layers.size(), calibration->get());
    // A map without an inverse, or a head_dim that a codec cannot have.
    if (!codecs.ok()) continue;
    for (size_t i = 0; i < layers.size(); ++i) use(*(*codecs)[i], static_cast<int>(i), layers[i]);
  }
  if (!quant::write_calibration(**calibration).ok()) throw std::logic_error("a calibration is not written again");
  return true;
}

void mend(Bytes& bytes, Random& random) {
  constexpr size_t kChecksumBytes = sizeof(uint64_t);
  if (random() % 16 == 0 || bytes.size() < kChecksumBytes) return;
  const size_t end = bytes.size() - kChecksumBytes;
  const uint64_t checksum = checksum64(std::span<const std::byte>(bytes).first(end));
  std::memcpy(bytes.data() + end, &checksum, kChecksumBytes);
}

}  // namespace

const FuzzTarget kCalibrationTarget = {"calibration", kMaxBytes, seeds, read, mend};

}  // namespace recalld::testing
