// The one thread that writes: two bounded queues of jobs, the transcript's before the cache's.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace recalld::storage {

class Writer {
 public:
  enum class Lane { kMemory = 0, kKv = 1 };

  // max_jobs and max_cost bound what waits in each lane; a lane with nothing waiting lets any one job in.
  Writer(size_t max_jobs, size_t max_cost);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Runs the job on the writer thread, after all jobs submitted to the lane before. A waiting job of kMemory goes
  // before one of kKv, except that kKv gets its turn after kMaxRun jobs. cost: bytes that the job keeps alive. Blocks
  // while the lane is full. Safe from any thread but the writer thread itself. False, without running it, after stop().
  bool submit(Lane lane, size_t cost, std::function<void()> job);

  // Runs what waits, then ends the thread. Idempotent.
  void stop();

 private:
  static constexpr int kMaxRun = 16;

  struct Job {
    std::function<void()> run;
    size_t cost = 0;
  };
  struct Queue {
    std::deque<Job> jobs;
    size_t cost = 0;
  };

  void loop();
  Queue* next(int& run_of_memory);

  const size_t max_jobs_;
  const size_t max_cost_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable room_;
  Queue queues_[2];
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace recalld::storage
