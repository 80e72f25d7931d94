// What benches read and write by name.
#pragma once

#include <string>

#include "base/status.h"

namespace recalld::bench {

// The GGUF of a model that scripts/bench knows by name: smollm2 (RECALLD_MODEL) or gemma3 (RECALLD_GEMMA_MODEL); ""
// when the variable is not set. Any other name is a path already.
std::string model_path(const std::string& name);

// kInternal, naming the file, when it cannot be written whole.
Status write_file(const std::string& path, const std::string& text);

}  // namespace recalld::bench
