// EpiCache, reference mode: for each episode one pass over the whole history, in which every block is scored by the
// same patched prompt P_e: an instruction and the segments that stand for the episode. Kim et al. 2025 (arXiv
// 2509.17396), algorithm 1 and equation 3.
//
// The score of entry i of a KV head is the largest attention that any token of P_e, by any query head of the group,
// gives it, with the softmax over the history's entries alone. No pooling, no protected entries, no memory of earlier
// blocks. Budgets differ by layer (layer_budgets.h); within a layer the heads share one. Positions stay original; the
// prompt stands right after the last token read.
//
// Episodes are made elsewhere; this file takes the texts that represent them.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "episodes/policies/evicting_prefill.h"
#include "runtime/tokenizer.h"

namespace recalld::episodes {

inline constexpr std::string_view kEpisodeInstruction =
    "\n\nNote down what matters in this conversation: who is speaking and what they are like, what happened and when, "
    "personal details, plans and promises, opinions, how people stand to each other, what moved them, and anything out "
    "of the ordinary.\n";

struct EpiCacheOptions {
  std::vector<int32_t> prompt;                    // P_e
  Selection selection = Selection::kAcrossHeads;  // kPerHead: the paper's uniform variant
};

std::unique_ptr<EvictionPolicy> make_epicache(EpiCacheOptions options);

// The tokens of P_e: the instruction, what ends a user's turn and begins the assistant's (markup; empty in the plain
// style), then the segments, in the order of the conversation, a blank line between them.
std::vector<int32_t> episode_prompt(const runtime::Tokenizer& tokenizer, std::span<const std::string> segments,
                                    std::string_view turn_boundary = {});

// One cache per prompt, in order: E passes, so E * N * (1 + p / B) build tokens. One prompt is the case E = 1. Errors
// as evicting_prefill.
Result<std::vector<PolicyCache>> build_epicache(runtime::Engine& engine, const std::shared_ptr<cache::MemoryPool>& pool,
                                                std::span<const int32_t> history,
                                                std::span<const std::vector<int32_t>> prompts,
                                                const PrefillOptions& options,
                                                Selection selection = Selection::kAcrossHeads,
                                                const std::atomic<bool>* cancel = nullptr);

// The episode whose centroid has the largest cosine to the embedded question; the lower index when equal. centroids:
// [n][dim], not empty, of any length each.
size_t nearest_episode(std::span<const float> question, std::span<const std::vector<float>> centroids);

}  // namespace recalld::episodes
