// What a cache's rounding does to a model's predictions, teacher-forced on real text: every cache reads the same text
// block by block, and each block's logits are compared with those of libllama's 16-bit cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/codecs/palu_bases.h"
#include "quant/calibration.h"
#include "runtime/model.h"

namespace recalld::bench {

struct QualitySettings {
  std::string model;
  int threads = 1;
  int block = 64;        // tokens read at once
  int page_tokens = 64;  // tokens of a page; a page is coded as soon as this many rows beyond `recent` are there
  int pinned = 16;       // first tokens, kept in 16-bit pages
  int recent = 0;        // newest tokens, kept in 16-bit rows
  std::vector<std::string> stock{"q8_0", "q4_0", "q4_1"};  // libllama's caches beside f16
};

struct Quality {
  std::string name;         // of a codec or of a ggml type
  double bits = 0;          // per number held after the text: pages whole, pinned and 16-bit rows included
  double bits_pages = 0;    // of full pages of the codec alone; 0 where the text has none
  double bits_reading = 0;  // the same, averaged over the reading: what was held while each token was predicted
  double perplexity = 0;
  double kl = 0;    // mean over tokens of KL(libllama f16 || this), nats
  double top1 = 0;  // share of tokens with the same most probable next token as libllama f16
};

// What some codecs are made of: null where none of them needs it.
struct Measured {
  const quant::Calibration* calibration = nullptr;
  const PaluBases* palu = nullptr;
};

// True for names of quant::make_codecs, of the references (bench/codecs/references.h), and of
// archives (quant::archive_options), which are made as the daemon makes them.
bool is_codec(const std::string& name);

// ggml's types first, then `codecs`, in their order.
std::vector<Quality> measure_quality(const QualitySettings& settings,
                                     const std::shared_ptr<const runtime::Model>& model,
                                     std::span<const int32_t> tokens, const std::vector<std::string>& codecs,
                                     const Measured& measured);

}  // namespace recalld::bench
