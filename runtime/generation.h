// One answer: reads the prompt block by block, then decodes token by token until something ends it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "runtime/engine.h"
#include "runtime/sampler.h"
#include "runtime/tokenizer.h"

namespace recalld::runtime {

struct GenerationOptions {
  SamplerOptions sampler;
  std::vector<std::string> stops;  // never part of the text
  int32_t max_tokens = 0;          // 0: until the model stops or the window is full
  int32_t block = 1024;            // prompt tokens read between two calls of between_blocks
};

// All optional; called from the calling thread.
struct GenerationHooks {
  // A piece of the answer: valid UTF-8, never empty. False ends the answer (kCancelled).
  std::function<bool(std::string_view)> on_text;
  // Before each block of the prompt and before each decoded token: the place to let others run. An error ends the
  // answer with that error.
  std::function<Status()> between_blocks;
  const std::atomic<bool>* cancel = nullptr;
};

enum class FinishReason {
  kStop,       // the model ended its turn, or a stop string came
  kLength,     // max_tokens, or the window is full
  kCancelled,  // on_text said so, or *cancel
};

// "stop", "length", "cancelled".
std::string_view finish_reason_name(FinishReason reason);

struct GenerationResult {
  std::string text;
  std::vector<int32_t> tokens;  // sampled, the ending one included
  FinishReason finish_reason = FinishReason::kStop;
  int32_t prompt_tokens = 0;
  int32_t decoded_tokens = 0;  // steps of one token after the prompt
  double prefill_ms = 0;
  double first_token_ms = 0;  // from the call to the first sampled token
  double decode_ms = 0;
};

// prompt: at least one token, read at sequence.length() onwards. Afterwards the sequence holds the prompt and every
// sampled token but the last one. kTooLarge, before anything is read, when prompt and one token do not fit the window.
// After any other error the sequence may hold a part of it: truncate it to where it was.
// A cancelled answer is a result, not an error.
Result<GenerationResult> generate(Engine& engine, const Tokenizer& tokenizer, cache::Sequence& sequence,
                                  std::span<const int32_t> prompt, const GenerationOptions& options,
                                  const GenerationHooks& hooks, const Clock& clock);

}  // namespace recalld::runtime
