#include "bench/files.h"

#include <cstdlib>
#include <fstream>

namespace recalld::bench {

std::string model_path(const std::string& name) {
  const char* variable = name == "smollm2" ? "RECALLD_MODEL" : name == "gemma3" ? "RECALLD_GEMMA_MODEL" : nullptr;
  if (variable == nullptr) return name;
  const char* path = std::getenv(variable);
  return path != nullptr ? path : "";
}

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  return out.flush() ? ok_status() : internal_error("cannot write '" + path + "'");
}

}  // namespace recalld::bench
