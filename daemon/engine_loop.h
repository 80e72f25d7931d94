// The one thread that runs the model. Answers come first: waiting ones are admitted, prompts are read block by block,
// and all that are decoding advance together, one token each per step. Between that, and whenever nobody asks, sessions
// with unread turns are read, one block at a time.
//
// Threads: the public functions may be called from any thread; everything else happens on the loop's own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "daemon/answer.h"
#include "daemon/question_view.h"
#include "daemon/session_memory.h"

namespace recalld::daemon {

// A question on its way to an answer.
struct ChatJob {
  std::string session;  // empty: stateless
  episodes::Style style = episodes::Style::kTemplate;
  AskedText asked;              // what the view is chosen for
  int64_t question_turn = -1;   // index in the transcript, or -1 when the question is not remembered
  std::vector<int32_t> tokens;  // question (or, stateless, the whole conversation) and the answer's beginning
  std::vector<std::string> stops;
  bool trim = false;
  std::unique_ptr<Answer> answer;
};

struct LoopCounters {
  std::atomic<int64_t> answers{0}, answer_errors{0}, answers_cancelled{0};
  std::atomic<int64_t> tokens_reused{0}, tokens_read{0}, tokens_decoded{0}, tokens_ingested{0};
  std::atomic<int64_t> saves_failed{0}, queued{0}, active{0};
};

class EngineLoop {
 public:
  // context.encoder may compute on the engine: the loop ends first.
  EngineLoop(MemoryContext context, std::unique_ptr<runtime::Engine> engine, const ServiceOptions& options);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // kResourceExhausted when the queue is full, kUnavailable while draining.
  Status submit(ChatJob job);
  // There may be new turns in this session's transcript.
  void wake(const std::string& session, episodes::Style style);
  // What is known of a session's memory; none when it has not been used since start.
  std::optional<MemoryInfo> info(const std::string& session) const;
  // Ends the session's answers and forgets its memory; returns when done.
  void forget(const std::string& session);
  // Touched by the loop at every turn; for the watchdog. Nanoseconds of the monotonic clock.
  int64_t heartbeat_ns() const { return heartbeat_ns_.load(std::memory_order_relaxed); }
  const LoopCounters& counters() const { return counters_; }

  // No new answers; running ones finish or, deadline_ms from now, are cut; what was read is saved; the thread ends.
  void drain(int64_t deadline_ms);

 private:
  struct Reader {
    episodes::Style style;
    std::shared_ptr<SessionMemory> memory;
    bool dirty = true;          // the transcript may have turns that were not looked at
    int64_t not_before_ns = 0;  // after a failure: when to try again
  };

  void run();
  bool wait_for_work();
  void run_tasks();
  void admit();
  Status start_answer(ChatJob& job);
  // The job stays whole: where memory is short it is tried again.
  Result<Answer::Prompt> prompt_for(const ChatJob& job, SessionMemory& memory);
  // False when nothing was being prepared or read for an answer.
  bool prefill_one();
  bool decode_all();
  bool read_one();
  void finish_answers();
  void finish_job(ChatJob& job, const Status& status);
  Result<std::shared_ptr<SessionMemory>> memory_of(const std::string& session, episodes::Style style);
  // Saves and drops the memory used least recently, other than `keep`; false when there is none.
  bool evict_one(const std::string& keep);
  void save_all();

  MemoryContext context_;
  std::unique_ptr<runtime::Engine> engine_;
  const ServiceOptions options_;
  LoopCounters counters_;

  mutable std::mutex mutex_;  // guards what is below
  std::condition_variable work_;
  std::deque<ChatJob> queue_;
  std::deque<std::function<void()>> tasks_;
  std::map<std::string, std::shared_ptr<SessionMemory>> published_;
  std::map<std::string, episodes::Style> woken_;
  bool draining_ = false, stop_ = false;
  int64_t cut_at_ns_ = 0;

  std::list<ChatJob> active_;  // of the loop's thread from here on
  std::map<std::string, Reader> readers_;
  std::string last_read_;
  std::atomic<int64_t> heartbeat_ns_{0};
  std::atomic<bool> cancel_reading_{false};
  std::thread thread_;
};

}  // namespace recalld::daemon
