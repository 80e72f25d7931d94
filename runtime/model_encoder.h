// The language model itself as a text encoder, for installations without an embedding model.
#pragma once

#include <memory>

#include "cache/memory_pool.h"
#include "runtime/engine.h"
#include "runtime/text_encoder.h"
#include "runtime/tokenizer.h"

namespace recalld::runtime {

// The vector of a text is the mean of its tokens' states after the final norm, at unit length; without the first token,
// whose state says little about the text (it is the attention sink of Xiao et al. 2023, arXiv 2309.17453), when there
// are others. A causal model was not trained for this: expect worse vectors than an embedding model's.
//
// The window is 512 tokens, or the engine's context if that is less. A text is read in a sequence of its own, which is
// gone when embed() returns, and whose memory (at most a window of 16-bit keys and values) comes from a pool of its
// own. dim() is the model's n_embd. engine and tokenizer outlive the encoder and are the same model's; embed() counts
// as a step of the engine: same owner thread. kResourceExhausted and kInternal as Engine::step.
std::unique_ptr<TextEncoder> make_model_encoder(Engine& engine, const Tokenizer& tokenizer,
                                                std::shared_ptr<cache::MemoryPool> pool = cache::MemoryPool::create(0));

}  // namespace recalld::runtime
