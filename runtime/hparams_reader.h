// From GGUF metadata to Hparams.
#pragma once

#include "base/status.h"
#include "runtime/architecture.h"
#include "runtime/gguf_file.h"
#include "runtime/hparams.h"

namespace recalld::runtime {

// Keys "<architecture>.block_count" and so on, as llama.cpp's converter writes them. kCorrupt for missing or impossible
// values, kUnsupported for what this build cannot run: experts, per-layer lists, YaRN, head sizes other than multiples
// of 16 up to 256.
Result<Hparams> read_hparams(const GgufFile& file, const Architecture& architecture, int32_t n_vocab);

}  // namespace recalld::runtime
