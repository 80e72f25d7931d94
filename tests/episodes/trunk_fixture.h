// A transcript of the default model's tokens, cut into turns of uneven length with gaps in time, and ways to read it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "episodes/trunk.h"
#include "tests/episodes/model_fixture.h"

namespace recalld::episodes {

class TrunkFixture : public testing::Test {
 protected:
  TrunkFixture() {
    runtime::Tokenizer tokenizer(test_model());
    std::string text;
    for (int i = 0; i < 75; ++i)
      text += "On day " + std::to_string(i) + " we walked " + std::to_string(3 * i + 1) + " miles along the river. ";
    tokens_ = tokenizer.tokenize(text);
    set_turns({11, 15, 5, 22, 9, 30, 6, 35, 13, 18});
  }

  // Cuts the tokens into turns of these sizes, over and over; an hour passes before every seventh, unless without gaps.
  void set_turns(const std::vector<size_t>& sizes, bool gaps = true) {
    turns_.clear();
    int64_t time = 0;
    for (size_t at = 0; at < tokens_.size();) {
      const size_t n = std::min(sizes[turns_.size() % sizes.size()], tokens_.size() - at);
      time += gaps && turns_.size() % 7 == 6 ? 3'600'000 : 60'000;
      const auto from = tokens_.begin() + static_cast<ptrdiff_t>(at);
      turns_.push_back({{"user", "Ann", "turn", time}, {from, from + static_cast<ptrdiff_t>(n)}});
      at += n;
    }
  }

  TrunkOptions options(const std::string& codec) const {
    TrunkOptions options;
    options.segments = {.turns = 2, .max_tokens = 48};
    options.block_tokens = 64;
    options.page_tokens = 32;
    options.recent_tokens = options.near_tokens = 32;
    options.pinned_tokens = 8;
    options.view_tokens = 4096;
    options.plan.layers.assign(test_model()->cache_shape().layers.size(), quant::make_codec(codec).value());
    return finished(options);
  }
  static TrunkOptions finished(TrunkOptions options) {
    EXPECT_EQ(check_trunk_options(options).to_string(), ok_status().to_string());
    options.fingerprint = trunk_fingerprint(test_model()->fingerprint(), "test", options);
    return options;
  }

  Trunk make(const TrunkOptions& options) { return {test_model()->cache_shape(), pool_, options}; }

  void announce(Trunk& trunk) {
    const TurnTokens& turn = turns_[static_cast<size_t>(trunk.segmenter().n_turns())];
    trunk.push(turn.turn, static_cast<int32_t>(turn.tokens.size()));
  }
  // Announces the turns that tokens [0, end) belong to.
  void announce_to(Trunk& trunk, int64_t end) {
    while (trunk.segmenter().n_tokens() < end) announce(trunk);
  }

  // Reads tokens [trunk.n_tokens(), end) in steps of at most `step`; each turn is announced when the one before has
  // been read, or, together, as many as the block needs.
  void read_to(Trunk& trunk, int64_t end, int32_t step, bool turn_by_turn = false) {
    while (trunk.n_tokens() < end) {
      while (trunk.segmenter().n_tokens() < end && (turn_by_turn ? trunk.room() == 0 : !trunk.block_end().has_value()))
        announce(trunk);
      const auto n = std::min<int64_t>({trunk.room(), step, end - trunk.n_tokens()});
      const Status status = trunk.read(
          *engine_, std::span(tokens_).subspan(static_cast<size_t>(trunk.n_tokens()), static_cast<size_t>(n)));
      ASSERT_TRUE(status.ok()) << status.to_string();
    }
  }

  static std::vector<retrieval::PageGroup> all_groups(Trunk& trunk) {
    std::vector<retrieval::PageGroup> groups = trunk.groups();
    for (size_t i = 0; i < groups.size(); ++i) groups[i].chunk = trunk.load(i).value();
    for (const auto& group : trunk.tail().value()) groups.push_back(group);
    return groups;
  }

  // Greedy continuation of the trunk as an answer would see it.
  std::vector<int32_t> greedy(Trunk& trunk, int n) {
    const auto groups = all_groups(trunk);
    cache::Sequence sequence(test_model()->cache_shape(), pool_);
    EXPECT_TRUE(sequence
                    .set_view(retrieval::compose(groups, retrieval::choose_recent(groups, trunk.options().view_tokens),
                                                 test_model()->cache_shape().layers.size()))
                    .ok());
    std::vector<int32_t> out;
    std::vector<float> logits;
    int32_t token = 198;
    for (int i = 0; i < n; ++i) {
      const runtime::StepRequest request{&sequence, {&token, 1}, runtime::Outputs::kLast, &logits};
      EXPECT_TRUE(engine_->step({&request, 1}).ok());
      token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      out.push_back(token);
    }
    return out;
  }

  static bool same_bytes(const cache::Chunk& a, const cache::Chunk& b) {
    return a.buffer->size() == b.buffer->size() &&
           std::memcmp(a.buffer->data(), b.buffer->data(), a.buffer->size()) == 0;
  }

  // Keys and values of a page, one after the other.
  static std::vector<float> values(const cache::Page& page) {
    const auto n = static_cast<size_t>(page.meta().n_tokens) * static_cast<size_t>(page.meta().n_kv_heads) *
                   static_cast<size_t>(page.meta().head_dim);
    std::vector<float> out(2 * n);
    EXPECT_TRUE(page.codec().decode_page(page.view(), out.data(), out.data() + n).ok());
    return out;
  }
  static double difference(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0, norm = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
      norm += static_cast<double>(b[i]) * b[i];
    }
    return a.size() == b.size() ? std::sqrt(sum / norm) : 1e9;
  }

  std::vector<int32_t> tokens_;
  std::vector<TurnTokens> turns_;
  std::unique_ptr<runtime::Engine> engine_ = test_engine();
  std::shared_ptr<cache::MemoryPool> pool_ = cache::MemoryPool::create(0);
};

// What a disk would hold of a trunk: pages and the newest rows, outside the trunk's pool.
class Disk {
 public:
  void save(Trunk& trunk) {
    const auto unsaved = trunk.unsaved().value();
    chunks.resize(unsaved.first_changed);
    for (size_t i = unsaved.first_changed; i < trunk.groups().size(); ++i)
      chunks.push_back(copy(*trunk.groups()[i].chunk, trunk.options().fingerprint));
    tail.clear();
    for (const auto& group : unsaved.tail) tail.push_back(copy(*group.chunk, trunk.options().fingerprint));
    view = unsaved.view;
    trunk.mark_saved();
  }

  Trunk::Loader loader() {
    return [this](size_t group) -> Result<cache::ChunkPtr> {
      ++loads;
      return chunks[group];
    };
  }
  // With a pool, as the daemon has: loaded pages count.
  Trunk::Loader loader(const std::shared_ptr<cache::MemoryPool>& pool, const Digest128& fingerprint) {
    return [this, pool, fingerprint](size_t group) -> Result<cache::ChunkPtr> {
      ++loads;
      RECALLD_ASSIGN_OR_RETURN(cache::PooledBuffer bytes, pool->allocate(chunks[group]->buffer->size()));
      std::memcpy(bytes.data(), chunks[group]->buffer->data(), bytes.size());
      return cache::open_chunk(std::move(bytes), fingerprint);
    };
  }
  std::vector<retrieval::PageGroup> groups() const {
    std::vector<retrieval::PageGroup> out;
    for (const auto& chunk : chunks) out.push_back({chunk->token_start(), chunk->n_tokens(), false, nullptr});
    return out;
  }

  std::vector<cache::ChunkPtr> chunks, tail;
  std::vector<size_t> view;
  int loads = 0;

 private:
  cache::ChunkPtr copy(const cache::Chunk& chunk, const Digest128& fingerprint) {
    auto bytes = outside_->allocate(chunk.buffer->size()).value();
    std::memcpy(bytes.data(), chunk.buffer->data(), bytes.size());
    return cache::open_chunk(std::move(bytes), fingerprint).value();
  }
  std::shared_ptr<cache::MemoryPool> outside_ = cache::MemoryPool::create(0);
};

}  // namespace recalld::episodes
