// Whether the metadata of a GGUF file describe an encoder that libllama can load without aborting.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "runtime/gguf_file.h"

namespace recalld::runtime {

// libllama ends the process over some contradictions that a damaged file can hold; they are found here first.
// kUnsupported for a file that is no embedding model, kCorrupt for what makes no sense.
Status check_encoder(const GgufFile& file);

// <architecture>.context_length of a file that check_encoder has let pass.
int32_t encoder_window(const GgufFile& file);

}  // namespace recalld::runtime
