#include "cache/memory_pool.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace recalld::cache {
namespace {

TEST(MemoryPool, RefusesWhatPassesTheLimitAndCountsWhatIsHeld) {
  const auto pool = MemoryPool::create(1000);
  auto first = pool->allocate(600);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(pool->used(), 600U);
  const auto second = pool->allocate(401);
  EXPECT_EQ(second.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(second.status().message().find("memory.ram_bytes"), std::string::npos);
  EXPECT_EQ(pool->used(), 600U);
  {
    const PooledBuffer moved = std::move(first).value();
    EXPECT_EQ(pool->used(), 600U);
  }
  EXPECT_EQ(pool->used(), 0U);
  EXPECT_EQ(pool->peak(), 600U);
  EXPECT_TRUE(pool->allocate(1000).ok());
}

TEST(MemoryPool, MovedBuffersAreCountedOnce) {
  const auto pool = MemoryPool::create(0);
  PooledBuffer a = pool->allocate(64).value();
  PooledBuffer b = pool->allocate(128).value();
  a = std::move(b);
  EXPECT_EQ(pool->used(), 128U);
  EXPECT_EQ(a.size(), 128U);
  const PooledBuffer c = std::move(a);
  EXPECT_EQ(pool->used(), 128U);
}

TEST(MemoryPool, AdoptedMemoryIsUnderTheSameLimit) {
  const auto pool = MemoryPool::create(100);
  EXPECT_FALSE(pool->adopt(AlignedBuffer(101)).ok());
  const auto kept = pool->adopt(AlignedBuffer(100));
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(pool->used(), 100U);
}

TEST(MemoryPool, ThreadsNeverPassTheLimitTogether) {
  const auto pool = MemoryPool::create(64 * 10);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        const auto buffer = pool->allocate(64);
        EXPECT_LE(pool->used(), 64U * 10);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool->used(), 0U);
  EXPECT_LE(pool->peak(), 64U * 10);
}

}  // namespace
}  // namespace recalld::cache
