#include "runtime/llama_log.h"

#include <llama.h>

#include <mutex>
#include <utility>

namespace recalld::runtime {
namespace {

std::string& thread_errors() {
  thread_local std::string errors;
  return errors;
}

void keep_errors(ggml_log_level level, const char* text, void* /*unused*/) {
  constexpr size_t kMaxBytes = 2000;
  std::string& errors = thread_errors();
  if (level == GGML_LOG_LEVEL_ERROR && errors.size() < kMaxBytes) errors += text;
}

}  // namespace

void quiet_llama_log() {
  static std::once_flag once;
  std::call_once(once, [] { llama_log_set(keep_errors, nullptr); });
}

std::string take_llama_errors() {
  std::string errors = std::exchange(thread_errors(), {});
  while (!errors.empty() && errors.back() == '\n') errors.pop_back();
  return errors;
}

}  // namespace recalld::runtime
