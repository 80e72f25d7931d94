#include "cache/chunk.h"

#include <gtest/gtest.h>

#include "tests/cache/cache_fixture.h"

namespace recalld::cache {
namespace {

class ChunkTest : public testing::Test {
 protected:
  ChunkTest() : shape_(make_shape(3, 6, 2, 64)), pool_(MemoryPool::create(0)), sequence_(shape_, pool_) {
    const History history(shape_, 128, 1);
    history.step(sequence_, 0, 128);
  }

  PooledBuffer copy_of(const Chunk& chunk) {
    PooledBuffer copy = pool_->allocate(chunk.buffer->size()).value();
    std::memcpy(copy.data(), chunk.buffer->data(), copy.size());
    return copy;
  }

  CacheShape shape_;
  std::shared_ptr<MemoryPool> pool_;
  Sequence sequence_;
  const Digest128 fingerprint_{7, 9};
};

TEST_F(ChunkTest, OpensWhatFreezeMade) {
  const ChunkPtr chunk = sequence_.freeze(100, plan_of(shape_, "turboquant-4"), 5, fingerprint_).value();
  const ChunkPtr opened = open_chunk(copy_of(*chunk), fingerprint_).value();
  ASSERT_EQ(opened->pages.size(), 3U);
  EXPECT_EQ(opened->token_start(), 5);
  EXPECT_EQ(opened->n_tokens(), 100);
  for (int layer = 0; layer < 3; ++layer) EXPECT_EQ(opened->pages[static_cast<size_t>(layer)]->meta().layer, layer);
}

TEST_F(ChunkTest, UnpacksWhatWasPackedToTheBit) {
  for (const char* codec : {"none16", "turboquant-4", "turboquant-k3v2"}) {
    const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, codec), 5, fingerprint_).value();
    const auto packed = pack_chunk(*chunk).value();
    EXPECT_LT(packed.size(), chunk->buffer->size() * 9 / 10) << codec;
    const ChunkPtr back = unpack_chunk(packed, fingerprint_, *pool_).value();
    ASSERT_EQ(back->buffer->size(), chunk->buffer->size());
    EXPECT_EQ(std::memcmp(back->buffer->data(), chunk->buffer->data(), chunk->buffer->size()), 0) << codec;
    EXPECT_EQ(unpack_chunk(packed, {1, 2}, *pool_).status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(unpack_chunk(packed, fingerprint_, *MemoryPool::create(1000)).status().code(),
              StatusCode::kResourceExhausted);
  }
}

TEST_F(ChunkTest, WhatIsArchivedComesBackToTheBit) {
  for (const char* codec : {"none16", "turboquant-4"}) {
    CodecPlan plan = plan_of(shape_, codec);
    const ChunkPtr plain = sequence_.freeze(20, cache::plain_plan(3), 5, fingerprint_).value();
    plan.archive = "archive-4";
    const ChunkPtr chunk = recode_chunk(shape_, *plain, plan, *pool_).value();
    const auto packed = pack_chunk(*chunk).value();
    const ChunkPtr back = unpack_chunk(packed, fingerprint_, *pool_, plan).value();
    ASSERT_EQ(back->buffer->size(), chunk->buffer->size());
    EXPECT_EQ(std::memcmp(back->buffer->data(), chunk->buffer->data(), chunk->buffer->size()), 0) << codec;
    EXPECT_EQ(back->pages[2]->codec().name(), codec);
    EXPECT_EQ(back->token_start(), 5);
    EXPECT_EQ(pack_chunk(*back).value(), packed) << "a chunk that was loaded is saved as it was";
    EXPECT_LT(packed.size(), plain->buffer->size() / 3) << codec;
  }
}

TEST_F(ChunkTest, AnArchiveCarriesTheErrorItSays) {
  CodecPlan plan = cache::plain_plan(3);
  const ChunkPtr plain = sequence_.freeze(60, plan, 0, fingerprint_).value();
  plan.archive = "archive-4";
  const ChunkPtr chunk = recode_chunk(shape_, *plain, plan, *pool_).value();
  for (size_t layer = 0; layer < 3; ++layer) {
    std::vector<float> k(60 * 2 * 64), v(k.size()), k0(k.size()), v0(k.size());
    ASSERT_TRUE(plain->pages[layer]->codec().decode_page(plain->pages[layer]->view(), k0.data(), v0.data()).ok());
    ASSERT_TRUE(chunk->pages[layer]->codec().decode_page(chunk->pages[layer]->view(), k.data(), v.data()).ok());
    double error = 0, energy = 0;
    for (size_t i = 0; i < v.size(); ++i) {
      error += (v[i] - v0[i]) * (v[i] - v0[i]);
      energy += v0[i] * v0[i];
    }
    EXPECT_LT(error / energy, 0.011) << layer;
    EXPECT_GT(error / energy, 0.005) << layer;
  }
}

TEST_F(ChunkTest, ArchivesOfAnotherModelAndDamagedOnesAreRefused) {
  CodecPlan plan = plan_of(shape_, "turboquant-4");
  plan.archive = "archive-4";
  const ChunkPtr chunk = sequence_.freeze(20, plan, 0, fingerprint_).value();
  const auto packed = pack_chunk(*chunk).value();
  EXPECT_EQ(unpack_chunk(packed, {1, 2}, *pool_, plan).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(unpack_chunk(packed, fingerprint_, *MemoryPool::create(1000), plan).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(unpack_chunk(packed, fingerprint_, *pool_, cache::plain_plan(2)).status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(unpack_chunk(packed, fingerprint_, *pool_).value()->pages[0]->codec().name(), "none16") << "without a plan";
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    auto bytes = packed;
    const size_t at = random() % bytes.size();
    bytes[at] ^= static_cast<std::byte>(1U << (random() % 8));
    EXPECT_EQ(unpack_chunk(bytes, fingerprint_, *pool_, plan).status().code(), StatusCode::kCorrupt) << "byte " << at;
  }
}

TEST_F(ChunkTest, AnyFlippedBitOfAPackedChunkIsFound) {
  const ChunkPtr chunk = sequence_.freeze(20, plan_of(shape_, "turboquant-3"), 0, fingerprint_).value();
  const auto packed = pack_chunk(*chunk).value();
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    auto bytes = packed;
    const size_t at = random() % bytes.size();
    bytes[at] ^= static_cast<std::byte>(1U << (random() % 8));
    EXPECT_EQ(unpack_chunk(bytes, fingerprint_, *pool_).status().code(), StatusCode::kCorrupt) << "byte " << at;
  }
}

TEST_F(ChunkTest, AnyFlippedBitIsFound) {
  const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, "turboquant-3"), 0, fingerprint_).value();
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    PooledBuffer bytes = copy_of(*chunk);
    const size_t at = random() % bytes.size();
    bytes.data()[at] ^= static_cast<std::byte>(1U << (random() % 8));
    EXPECT_FALSE(open_chunk(std::move(bytes), fingerprint_).ok()) << "byte " << at;
  }
}

TEST_F(ChunkTest, ACutChunkIsCorrupt) {
  const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, "none16"), 0, fingerprint_).value();
  for (const size_t size : {size_t{0}, size_t{64}, chunk->buffer->size() / 2, chunk->buffer->size() - 64}) {
    PooledBuffer bytes = pool_->allocate(size).value();
    if (size > 0) std::memcpy(bytes.data(), chunk->buffer->data(), size);
    EXPECT_EQ(open_chunk(std::move(bytes), fingerprint_).status().code(), StatusCode::kCorrupt) << size;
  }
}

// Pages under right checksums that say what no page of this model can.
TEST_F(ChunkTest, HeadersThatCannotBeAreRefusedWithTheReason) {
  const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, "turboquant-4"), 5, fingerprint_).value();
  ASSERT_TRUE(check_chunk(shape_, *chunk).ok());
  const size_t second = chunk->pages[0]->bytes();
  const auto with = [&](const auto& change) {
    PooledBuffer bytes = copy_of(*chunk);
    const std::span<std::byte> page(bytes.data() + second, chunk->pages[1]->bytes());
    quant::PageMeta meta = chunk->pages[1]->meta();
    change(meta);
    quant::write_page_header(chunk->pages[1]->view().codec, meta, page);
    const auto opened = open_chunk(std::move(bytes), fingerprint_);
    return opened.ok() ? check_chunk(shape_, **opened) : opened.status();
  };
  using Meta = quant::PageMeta;
  const auto refused = [&](const auto& change, const char* reason) {
    const Status status = with(change);
    EXPECT_EQ(status.code(), StatusCode::kCorrupt) << reason;
    EXPECT_NE(status.message().find(reason), std::string::npos) << status.message();
  };
  refused([](Meta& meta) { meta.head_dim = 0; }, "head_dim is 0");
  refused([](Meta& meta) { meta.head_dim = 72; }, "head_dim is 72");
  refused([](Meta& meta) { meta.n_tokens = 300; }, "token count is 300");
  refused([](Meta& meta) { meta.n_kv_heads = 5000; }, "KV head count is 5000");
  refused([](Meta& meta) { meta.n_tokens = 1; }, "page size");
  refused([](Meta& meta) { meta.layer = 60'000; }, "a page of layer 60000 (2 heads of 64) stands for layer 1");
  refused([](Meta& meta) { meta.token_start = 6; }, "the page of layer 1 holds other tokens");
  refused([](Meta& meta) { meta.rope_start = 9000; }, "the page of layer 1 holds other tokens");

  Chunk fewer = *chunk;
  fewer.pages.pop_back();
  EXPECT_EQ(check_chunk(shape_, fewer).message(), "a chunk of 2 pages for a model of 3 layers");
}

TEST_F(ChunkTest, AnotherFingerprintIsAMiss) {
  const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, "none16"), 0, fingerprint_).value();
  EXPECT_EQ(open_chunk(copy_of(*chunk), {1, 2}).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(ChunkTest, RecodingSixteenBitPagesEqualsCodingTheRows) {
  Sequence twin(shape_, pool_);
  const History history(shape_, 128, 1);
  history.step(twin, 0, 128);
  const ChunkPtr direct = sequence_.freeze(128, plan_of(shape_, "turboquant-4"), 0, fingerprint_).value();
  const ChunkPtr plain = twin.freeze(128, plan_of(shape_, "none16"), 0, fingerprint_).value();
  const ChunkPtr recoded = recode_chunk(shape_, *plain, plan_of(shape_, "turboquant-4"), *pool_).value();
  ASSERT_EQ(recoded->buffer->size(), direct->buffer->size());
  EXPECT_EQ(std::memcmp(recoded->buffer->data(), direct->buffer->data(), direct->buffer->size()), 0);
}

TEST_F(ChunkTest, BytesAreGivenBackWithTheLastPage) {
  Sequence sequence(shape_, MemoryPool::create(0));
  const auto pool = MemoryPool::create(0);
  PagePtr page;
  {
    const ChunkPtr chunk = sequence_.freeze(40, plan_of(shape_, "none16"), 0, fingerprint_).value();
    PooledBuffer bytes = pool->allocate(chunk->buffer->size()).value();
    std::memcpy(bytes.data(), chunk->buffer->data(), bytes.size());
    page = open_chunk(std::move(bytes), fingerprint_).value()->pages[1];
  }
  EXPECT_GT(pool->used(), 0U);
  page.reset();
  EXPECT_EQ(pool->used(), 0U);
}

}  // namespace
}  // namespace recalld::cache
