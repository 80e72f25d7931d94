#include "storage/writer.h"

#include <utility>

namespace recalld::storage {

Writer::Writer(size_t max_jobs, size_t max_cost)
    : max_jobs_(max_jobs > 0 ? max_jobs : 1), max_cost_(max_cost), thread_([this] { loop(); }) {}

Writer::~Writer() { stop(); }

bool Writer::submit(Lane lane, size_t cost, std::function<void()> job) {
  std::unique_lock lock(mutex_);
  Queue& queue = queues_[static_cast<size_t>(lane)];
  room_.wait(lock, [&] {
    return stopping_ || queue.jobs.empty() || (queue.jobs.size() < max_jobs_ && queue.cost + cost <= max_cost_);
  });
  if (stopping_) return false;
  queue.jobs.push_back({std::move(job), cost});
  queue.cost += cost;
  work_.notify_one();
  return true;
}

void Writer::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  room_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Writer::Queue* Writer::next(int& run_of_memory) {
  Queue& memory = queues_[0];
  Queue& kv = queues_[1];
  if (!memory.jobs.empty() && (kv.jobs.empty() || run_of_memory < kMaxRun)) {
    ++run_of_memory;
    return &memory;
  }
  run_of_memory = 0;
  return kv.jobs.empty() ? nullptr : &kv;
}

void Writer::loop() {
  int run_of_memory = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stopping_ || !queues_[0].jobs.empty() || !queues_[1].jobs.empty(); });
    Queue* queue = next(run_of_memory);
    if (queue == nullptr) return;
    Job job = std::move(queue->jobs.front());
    queue->jobs.pop_front();
    queue->cost -= job.cost;
    lock.unlock();
    room_.notify_all();
    job.run();
    job.run = nullptr;
    lock.lock();
  }
}

}  // namespace recalld::storage
