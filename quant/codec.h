// A codec: how keys and values of one layer become a page, and what the query and the output must go through so that
// attention can run on the codes. Named and versioned; its parameters stand in every page header.
//
// K and V are maps of the plain vectors: k' = T_k k (then optionally minus a per-page mean), v' = T_v v, and the codes
// approximate k' and v'. T_k is applied to the query (q . k = T_k q . T_k k for orthogonal T_k; a codec with another
// map gives the matching query map), and the inverse of T_v to the output, once per row. The maps may differ by layer
// and KV head, so that calibrated codecs fit the same interface.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "kernels/attend.h"
#include "quant/page.h"

namespace recalld::quant {

class Codec {
 public:
  virtual ~Codec() = default;

  // "none16", "turboquant-4", "turboquant-k4v3": what configuration and reports call it.
  virtual const std::string& name() const = 0;
  // id, version and parameters as they stand in page headers.
  virtual const CodecTag& tag() const = 0;
  // Changes whenever the bytes of a page would: part of the fingerprint of stored pages.
  virtual Digest128 digest() const = 0;

  // Size of a whole page (header included) of n_tokens tokens, 1..kMaxPageTokens.
  virtual size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const = 0;

  // Codes a page. k and v are [meta.n_tokens][meta.n_kv_heads][meta.head_dim] f32, keys rotated by RoPE at the page's
  // positions. Writes exactly page_bytes() bytes to out: header, payload, checksum. One token or many go through the
  // same quantizer: bit-equal rows. NaN and infinity are coded as 0; a zero vector decodes to zeros.
  // kInvalidArgument for an unsupported head_dim (supported: multiples of 16 up to 256).
  virtual Status encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const = 0;

  // The inverse: k and v in the plain basis, same shapes. For tests, the archive and re-coding, not for attention.
  virtual Status decode_page(const PageView& page, float* k, float* v) const = 0;

  // The position that rotations of this page's keys are counted from: T_k is applied to keys turned back by it, so that
  // a query for this page is to be turned back by it too, before transform_queries. 0: keys are taken as they come.
  virtual int32_t key_origin(const PageMeta& /*meta*/) const { return 0; }

  // True when T_k and T_v are the identity (16-bit pages): queries and outputs need nothing.
  virtual bool plain_basis() const = 0;

  // q: [n_rows][head_dim] already rotated for the page's shift and origin; out may alias q. For KV head `head` of
  // `layer`.
  virtual void transform_queries(int layer, int head, int head_dim, int n_rows, const float* q, float* out) const = 0;

  // acc: [n_rows][head_dim] in the coded basis, to the plain basis in place.
  virtual void restore_outputs(int layer, int head, int head_dim, int n_rows, float* acc) const = 0;

  // The mean that keys of this head are coded less, where it is the codec's own and does not stand in the pages:
  // [head_dim] halves in the coded basis, for PageSlice::k_mean. nullptr for none. Lives as long as the codec.
  virtual const uint16_t* key_mean(int /*head*/) const { return nullptr; }
};

// Codecs that are the same for every model: "none16", "turboquant-4|3|2|k4v3|k4v2|k3v2", "trellis-" and the
// same, each optionally with "-plain" (no key centring). kInvalidArgument, listing the known names, for anything else.
Result<std::shared_ptr<const Codec>> make_codec(std::string_view name);

// The codec that wrote a page, from its tag. kUnsupported for an unknown id or version, and for codecs that need a
// calibration: those come from make_codecs().
Result<std::shared_ptr<const Codec>> codec_for(const CodecTag& tag);

// All names make_codec accepts.
std::vector<std::string> codec_names();

struct Calibration;

// "calibrated-2|2.5|3|4", "turboquant-2.5|3.5" and "oscar-2": made from a calibration of the model
// (quant/calibration.h).
std::vector<std::string> calibrated_codec_names();
bool needs_calibration(std::string_view name);

// kInvalidArgument, listing all names, unless `name` is of codec_names() or calibrated_codec_names().
Status check_codec_name(std::string_view name);

// One codec for each layer of a model, of any name. kFailedPrecondition, naming the remedy, when the name needs a
// calibration and there is none (nullptr); kInvalidArgument when it has another number of layers.
Result<std::vector<std::shared_ptr<const Codec>>> make_codecs(std::string_view name, size_t n_layers,
                                                              const Calibration* calibration);

}  // namespace recalld::quant
