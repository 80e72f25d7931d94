#include "storage/writer.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

namespace recalld::storage {
namespace {

using Lane = Writer::Lane;

TEST(WriterTest, TheTranscriptGoesFirstAndEachLaneKeepsItsOrder) {
  std::vector<int> order;
  Writer writer(64, 1 << 20);
  std::promise<void> started;
  std::promise<void> go;
  ASSERT_TRUE(writer.submit(Lane::kKv, 0, [&] {
    started.set_value();
    go.get_future().wait();
  }));
  started.get_future().wait();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.submit(Lane::kKv, 0, [&, i] { order.push_back(100 + i); }));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.submit(Lane::kMemory, 0, [&, i] { order.push_back(i); }));
  go.set_value();
  writer.stop();
  EXPECT_THAT(order, ::testing::ElementsAre(0, 1, 2, 100, 101, 102));
}

TEST(WriterTest, TheCacheIsNotStarved) {
  std::vector<int> order;
  Writer writer(64, 1 << 20);
  std::promise<void> started;
  std::promise<void> go;
  ASSERT_TRUE(writer.submit(Lane::kKv, 0, [&] {
    started.set_value();
    go.get_future().wait();
  }));
  started.get_future().wait();
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(writer.submit(Lane::kMemory, 0, [&] { order.push_back(0); }));
  ASSERT_TRUE(writer.submit(Lane::kKv, 0, [&] { order.push_back(1); }));
  go.set_value();
  writer.stop();
  ASSERT_EQ(order.size(), 41U);
  EXPECT_LT(std::find(order.begin(), order.end(), 1) - order.begin(), 20);
}

TEST(WriterTest, AFullLaneHoldsItsCallersAndOneBigJobIsLetIn) {
  Writer writer(64, 100);
  std::promise<void> started;
  std::promise<void> go;
  ASSERT_TRUE(writer.submit(Lane::kKv, 0, [&] {
    started.set_value();
    go.get_future().wait();
  }));
  started.get_future().wait();
  std::atomic<int> done = 0;
  ASSERT_TRUE(writer.submit(Lane::kKv, 1000, [&] { ++done; }));
  std::atomic<bool> entered = false;
  std::thread second([&] {
    EXPECT_TRUE(writer.submit(Lane::kKv, 10, [&] { ++done; }));
    entered = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(entered);
  EXPECT_TRUE(writer.submit(Lane::kMemory, 1000, [&] { ++done; }));
  go.set_value();
  second.join();
  writer.stop();
  EXPECT_EQ(done, 3);
  EXPECT_FALSE(writer.submit(Lane::kKv, 0, [] {}));
}

}  // namespace
}  // namespace recalld::storage
