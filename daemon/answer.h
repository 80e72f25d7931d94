// One answer in the making: a state machine that the engine loop advances step by step, so that several answers share
// the engine and reading goes on between them.
//
//   kWaiting -> prepare() -> kPrefill -> prefill_step()* -> kDecode -> (next_token(), take_logits())* -> kDone
//
// Owned by the engine thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "cache/sequence.h"
#include "daemon/service.h"
#include "runtime/engine.h"
#include "runtime/sampler.h"
#include "runtime/stop_strings.h"
#include "runtime/tokenizer.h"
#include "runtime/utf8_stream.h"

namespace recalld::daemon {

class Answer {
 public:
  enum class State { kWaiting, kPrefill, kDecode, kDone };

  struct Prompt {
    cache::View view;             // what the answer attends to besides its own rows; empty without a session
    std::vector<int32_t> tokens;  // read for this answer: at least one
    std::vector<std::string> stops;
    bool trim = false;    // drop the white space before the answer's first word
    RecallReport recall;  // what is known so far
  };

  // sampling has been checked. seed: used when the request names none.
  Answer(std::shared_ptr<ChatSink> sink, SamplingOptions sampling, uint64_t seed,
         std::shared_ptr<const runtime::Tokenizer> tokenizer, const Clock& clock);

  State state() const { return state_; }

  // Takes the prompt. kTooLarge when it does not fit the engine's window.
  Status prepare(Prompt prompt, const runtime::Engine& engine, std::shared_ptr<cache::MemoryPool> pool);
  // Reads at most max_tokens of the prompt; after the last of them the first token is sampled.
  Status prefill_step(runtime::Engine& engine, int32_t max_tokens);
  // For the next batched decode step: reads the last token, leaves logits in logits().
  runtime::StepRequest next_step();
  // Samples from the logits of the step that was just run.
  Status advance(int32_t context);
  // Ends the answer early with this reason ("cancelled", "length").
  void finish(const std::string& reason);

  const std::string& text() const { return text_; }
  ChatResult result() const;
  bool client_gone() const { return client_gone_; }
  ChatSink& sink() { return *sink_; }

 private:
  Status accept(std::span<const float> logits, int32_t context);
  void emit(std::string piece);

  std::shared_ptr<ChatSink> sink_;
  SamplingOptions sampling_;
  uint64_t seed_;
  std::shared_ptr<const runtime::Tokenizer> tokenizer_;
  const Clock& clock_;
  State state_ = State::kWaiting;
  std::unique_ptr<cache::Sequence> sequence_;
  std::optional<runtime::Sampler> sampler_;
  std::optional<runtime::StopStrings> stops_;
  runtime::Utf8Stream utf8_;
  std::vector<int32_t> prompt_;
  size_t prompt_read_ = 0;
  std::vector<float> logits_;
  int32_t last_token_ = 0;
  int32_t sampled_ = 0;
  bool client_gone_ = false, trim_ = false;
  std::string text_, finish_reason_;
  RecallReport recall_;
  int64_t created_ns_, first_token_ns_ = 0, last_token_ns_ = 0;
};

// kInvalidArgument naming the option and its range.
Status check_sampling(const SamplingOptions& sampling);

}  // namespace recalld::daemon
