// What libllama and ggml would print goes nowhere; their last error is kept for the message of a Status.
#pragma once

#include <string>

namespace recalld::runtime {

// Takes over the log of both libraries, once per process. Any thread.
void quiet_llama_log();

// The error lines logged by the calling thread since the last call.
std::string take_llama_errors();

}  // namespace recalld::runtime
