#include "daemon/engine_loop.h"

#include <algorithm>
#include <chrono>
#include <future>

namespace recalld::daemon {
namespace {

constexpr int64_t kAllTurns = INT32_MAX;
constexpr int64_t kRetryNs = 5'000'000'000;
constexpr auto kIdleWait = std::chrono::seconds(1);

}  // namespace

EngineLoop::EngineLoop(MemoryContext context, std::unique_ptr<runtime::Engine> engine, const ServiceOptions& options)
    : context_(std::move(context)), engine_(std::move(engine)), options_(options) {
  heartbeat_ns_ = context_.clock->monotonic_ns();
  thread_ = std::thread([this] { run(); });
}

EngineLoop::~EngineLoop() { drain(0); }

Status EngineLoop::submit(ChatJob job) {
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return unavailable("the daemon is shutting down");
    if (queue_.size() >= static_cast<size_t>(options_.max_queued))
      return resource_exhausted("too many requests are waiting (" + std::to_string(queue_.size()) +
                                "); try again in a moment");
    queue_.push_back(std::move(job));
    counters_.queued = static_cast<int64_t>(queue_.size());
  }
  cancel_reading_ = true;
  work_.notify_one();
  return ok_status();
}

void EngineLoop::wake(const std::string& session, episodes::Style style) {
  {
    const std::lock_guard lock(mutex_);
    woken_.insert_or_assign(session, style);
  }
  work_.notify_one();
}

std::optional<MemoryInfo> EngineLoop::info(const std::string& session) const {
  const std::lock_guard lock(mutex_);
  const auto found = published_.find(session);
  if (found == published_.end()) return std::nullopt;
  return found->second->snapshot();
}

void EngineLoop::forget(const std::string& session) {
  auto done = std::make_shared<std::promise<void>>();
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    tasks_.push_back([this, session, done] {
      for (ChatJob& job : active_)
        if (job.session == session) job.answer->finish("cancelled");
      readers_.erase(session);
      {
        const std::lock_guard inner(mutex_);
        published_.erase(session);
        woken_.erase(session);
        for (ChatJob& job : queue_)
          if (job.session == session) job.answer->sink().on_error(not_found("the session was deleted"));
        std::erase_if(queue_, [&](const ChatJob& job) { return job.session == session; });
      }
      for (auto job = active_.begin(); job != active_.end();) {
        if (job->session != session) {
          ++job;
          continue;
        }
        job->answer->sink().on_error(not_found("the session was deleted"));
        job = active_.erase(job);
      }
      done->set_value();
    });
  }
  cancel_reading_ = true;
  work_.notify_one();
  done->get_future().wait();
}

void EngineLoop::drain(int64_t deadline_ms) {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    cut_at_ns_ = context_.clock->monotonic_ns() + deadline_ms * 1'000'000;
  }
  cancel_reading_ = true;
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void EngineLoop::run() {
  while (true) {
    heartbeat_ns_.store(context_.clock->monotonic_ns(), std::memory_order_relaxed);
    cancel_reading_ = false;
    run_tasks();
    admit();
    const bool prefilled = prefill_one();
    const bool decoded = decode_all();
    finish_answers();
    if (prefilled || decoded) continue;
    {
      const std::lock_guard lock(mutex_);
      if (draining_ && queue_.empty() && active_.empty()) break;
    }
    if (read_one()) continue;
    if (!wait_for_work()) break;
  }
  save_all();
  std::deque<std::function<void()>> left;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    left.swap(tasks_);
  }
  for (const auto& task : left) task();
}

bool EngineLoop::wait_for_work() {
  std::unique_lock lock(mutex_);
  work_.wait_for(lock, kIdleWait, [&] { return !queue_.empty() || !tasks_.empty() || !woken_.empty() || draining_; });
  return !(draining_ && queue_.empty() && active_.empty() && tasks_.empty());
}

void EngineLoop::run_tasks() {
  std::deque<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    for (const auto& [session, style] : woken_) {
      auto [reader, fresh] = readers_.try_emplace(session, Reader{style, nullptr, true, 0});
      reader->second.dirty = true;
    }
    woken_.clear();
  }
  for (const auto& task : tasks) task();
}

void EngineLoop::admit() {
  while (active_.size() < static_cast<size_t>(options_.max_active)) {
    const std::lock_guard lock(mutex_);
    const auto next = std::find_if(queue_.begin(), queue_.end(), [&](const ChatJob& job) {
      return job.session.empty() ||
             std::none_of(active_.begin(), active_.end(), [&](const ChatJob& a) { return a.session == job.session; });
    });
    if (next == queue_.end()) break;
    active_.push_back(std::move(*next));
    queue_.erase(next);
    counters_.queued = static_cast<int64_t>(queue_.size());
  }
  counters_.active = static_cast<int64_t>(active_.size());
}

Result<std::shared_ptr<SessionMemory>> EngineLoop::memory_of(const std::string& session, episodes::Style style) {
  Reader& reader = readers_.try_emplace(session, Reader{style, nullptr, true, 0}).first->second;
  if (reader.memory == nullptr) {
    auto opened = SessionMemory::open(context_, session, style);
    while (!opened.ok() && opened.status().code() == StatusCode::kResourceExhausted && evict_one(session))
      opened = SessionMemory::open(context_, session, style);
    if (!opened.ok()) return opened.status();
    reader.memory = std::move(opened).value();
    reader.dirty = true;
    const std::lock_guard lock(mutex_);
    published_[session] = reader.memory;
  }
  reader.memory->touch();
  return reader.memory;
}

bool EngineLoop::evict_one(const std::string& keep) {
  SessionMemory* oldest = nullptr;
  for (auto& [name, reader] : readers_) {
    const std::string& session = name;
    if (reader.memory == nullptr || session == keep) continue;
    if (std::any_of(active_.begin(), active_.end(), [&](const ChatJob& job) { return job.session == session; }))
      continue;
    if (oldest == nullptr || reader.memory->last_used_ns() < oldest->last_used_ns()) oldest = reader.memory.get();
  }
  if (oldest == nullptr) return false;
  const std::string session = oldest->session();
  const Status saved = oldest->save();
  if (!saved.ok())
    context_.log(LogLevel::kWarning, "session " + session + ": its newest memory is given up: " + saved.message());
  // What is left to do is done a little later: taking turns at once, two sessions would evict each other.
  Reader& reader = readers_[session];
  if (oldest->has_pending() || oldest->recall().n_pending() > 0) {
    reader.dirty = true;
    reader.not_before_ns = context_.clock->monotonic_ns() + kRetryNs;
  }
  reader.memory.reset();
  const std::lock_guard lock(mutex_);
  published_.erase(session);
  return true;
}

Status EngineLoop::start_answer(ChatJob& job) {
  if (job.session.empty()) {
    Answer::Prompt prompt;
    prompt.tokens = job.tokens;
    prompt.stops = job.stops;
    prompt.trim = job.trim;
    job.answer->sink().on_start(-1);
    return job.answer->prepare(std::move(prompt), *engine_, context_.pool);
  }
  RECALLD_ASSIGN_OR_RETURN(const auto memory, memory_of(job.session, job.style));
  if (job.question_turn >= 0) memory->set_limit(job.question_turn);
  RECALLD_RETURN_IF_ERROR(memory->look(kAllTurns).status());
  if (memory->has_pending() && memory->pending_tokens() <= options_.catch_up_tokens)
    return memory->read_step(*engine_, nullptr);
  auto prompt = prompt_for(job, *memory);
  if (!prompt.ok() && prompt.status().code() == StatusCode::kCorrupt) {
    RECALLD_RETURN_IF_ERROR(memory->start_over(prompt.status().message()));
    return ok_status();
  }
  if (!prompt.ok()) return prompt.status();
  job.answer->sink().on_start(job.question_turn);
  return job.answer->prepare(std::move(prompt).value(), *engine_, context_.pool);
}

Result<Answer::Prompt> EngineLoop::prompt_for(const ChatJob& job, SessionMemory& memory) {
  Answer::Prompt prompt;
  prompt.recall.tokens_pending = memory.pending_tokens();
  prompt.tokens = memory.newest_pending(std::min<int64_t>(options_.catch_up_tokens, engine_->context() / 4));
  prompt.recall.tokens_pending -= static_cast<int64_t>(prompt.tokens.size());
  prompt.tokens.insert(prompt.tokens.end(), job.tokens.begin(), job.tokens.end());
  prompt.stops = job.stops;
  prompt.trim = job.trim;

  RECALLD_ASSIGN_OR_RETURN(std::vector<retrieval::PageGroup> groups, memory.groups());
  int64_t room = engine_->context() - static_cast<int64_t>(prompt.tokens.size()) - options_.answer_reserve_tokens;
  if (options_.view_tokens > 0) room = std::min<int64_t>(room, options_.view_tokens);
  const ViewLimits limits{room, options_.recall_tokens, options_.recent_tokens, options_.view_order};
  RECALLD_ASSIGN_OR_RETURN(const std::vector<size_t> chosen,
                           choose_view(memory, groups, job.asked, limits, *context_.clock, &prompt.recall));
  const int64_t started = context_.clock->monotonic_ns();
  const size_t on_disk = memory.trunk().groups().size();
  for (const size_t index : chosen) {
    if (index < on_disk && groups[index].chunk == nullptr) {
      RECALLD_ASSIGN_OR_RETURN(groups[index].chunk, memory.load(index));
    }
    prompt.recall.tokens_reused += groups[index].n_tokens;
    prompt.recall.pages += static_cast<int64_t>(groups[index].chunk->pages.size());
  }
  prompt.view = retrieval::compose(groups, chosen, context_.model->cache_shape().layers.size());
  prompt.recall.view_bytes = static_cast<int64_t>(prompt.view.bytes());
  prompt.recall.view_f16_bytes =
      prompt.recall.tokens_reused * static_cast<int64_t>(context_.model->cache_shape().f16_bytes_per_token());
  prompt.recall.load_ms = static_cast<double>(context_.clock->monotonic_ns() - started) / 1e6;
  return prompt;
}

bool EngineLoop::prefill_one() {
  for (auto job = active_.begin(); job != active_.end(); ++job) {
    Status status;
    if (job->answer->state() == Answer::State::kWaiting) {
      status = start_answer(*job);
    } else if (job->answer->state() == Answer::State::kPrefill) {
      status = job->answer->prefill_step(*engine_, options_.block_tokens);
    } else {
      continue;
    }
    if (status.code() == StatusCode::kResourceExhausted && evict_one(job->session)) return true;
    if (!status.ok()) {
      finish_job(*job, status);
      active_.erase(job);
    }
    return true;
  }
  return false;
}

bool EngineLoop::decode_all() {
  std::vector<runtime::StepRequest> requests;
  std::vector<ChatJob*> jobs;
  for (ChatJob& job : active_) {
    if (job.answer->state() != Answer::State::kDecode) continue;
    requests.push_back(job.answer->next_step());
    jobs.push_back(&job);
  }
  if (requests.empty()) return false;
  const Status stepped = engine_->step(requests);
  for (ChatJob* job : jobs) {
    const Status status = stepped.ok() ? job->answer->advance(engine_->context()) : stepped;
    counters_.tokens_decoded += stepped.ok() ? 1 : 0;
    if (status.ok()) continue;
    finish_job(*job, status);
    active_.remove_if([&](const ChatJob& active) { return &active == job; });
  }
  return true;
}

void EngineLoop::finish_answers() {
  bool cut = false;
  {
    const std::lock_guard lock(mutex_);
    cut = draining_ && context_.clock->monotonic_ns() >= cut_at_ns_;
    if (cut) {
      for (ChatJob& job : queue_) job.answer->sink().on_error(unavailable("the daemon is shutting down"));
      queue_.clear();
    }
  }
  for (auto job = active_.begin(); job != active_.end();) {
    const Answer::State state = job->answer->state();
    if (cut && state != Answer::State::kDone) {
      finish_job(*job, unavailable("the daemon is shutting down"));
    } else if (state == Answer::State::kDone) {
      finish_job(*job, ok_status());
    } else {
      ++job;
      continue;
    }
    job = active_.erase(job);
  }
  counters_.active = static_cast<int64_t>(active_.size());
}

void EngineLoop::finish_job(ChatJob& job, const Status& status) {
  ChatResult result = job.answer->result();
  Status outcome = status;
  // What the person was shown is remembered, even when the answer was cut.
  if (job.question_turn >= 0 && !result.text.empty()) {
    storage::TurnRow row;
    row.role = "assistant";
    row.text = result.text;
    row.time_ms = context_.clock->now_ms();
    auto appended = context_.stores->memory().append_turns(job.session, {row});
    if (appended.ok()) result.assistant_turn = *appended;
    if (outcome.ok() && !appended.ok()) outcome = appended.status().with_context("the answer could not be stored");
  }
  result.user_turn = job.question_turn;
  if (!job.session.empty()) {
    const auto reader = readers_.find(job.session);
    if (reader != readers_.end()) {
      if (reader->second.memory != nullptr) reader->second.memory->clear_limit();
      reader->second.dirty = true;
    }
  }
  if (outcome.ok()) {
    ++counters_.answers;
    if (result.finish_reason == "cancelled") ++counters_.answers_cancelled;
    counters_.tokens_reused += result.recall.tokens_reused;
    counters_.tokens_read += result.recall.tokens_read;
    job.answer->sink().on_done(result);
  } else {
    ++counters_.answer_errors;
    job.answer->sink().on_error(outcome);
  }
}

bool EngineLoop::read_one() {
  const int64_t now = context_.clock->monotonic_ns();
  // Sessions take turns: the first one after the last that was read.
  const auto after = readers_.upper_bound(last_read_);
  std::vector<std::string> order;
  for (auto reader = after; reader != readers_.end(); ++reader) order.push_back(reader->first);
  for (auto reader = readers_.begin(); reader != after; ++reader) order.push_back(reader->first);
  for (const std::string& session : order) {
    Reader& reader = readers_[session];
    if (reader.not_before_ns > now) continue;
    if (!reader.dirty && (reader.memory == nullptr || (!reader.memory->has_pending() && !reader.memory->has_work())))
      continue;
    const auto read = [&]() -> Result<bool> {
      RECALLD_ASSIGN_OR_RETURN(const auto memory, memory_of(session, reader.style));
      RECALLD_ASSIGN_OR_RETURN(const bool pending, memory->look());
      reader.dirty = false;
      const int64_t before = memory->trunk().n_tokens();
      RECALLD_RETURN_IF_ERROR(pending ? memory->read_step(*engine_, &cancel_reading_)
                                      : memory->learn_step(cancel_reading_));
      counters_.tokens_ingested += std::max<int64_t>(0, memory->trunk().n_tokens() - before);
      RECALLD_RETURN_IF_ERROR(memory->save_if_due());
      return pending;
    };
    auto outcome = read();
    while (!outcome.ok() && outcome.status().code() == StatusCode::kResourceExhausted && evict_one(session))
      outcome = read();
    last_read_ = session;
    if (!outcome.ok()) {
      if (outcome.status().code() == StatusCode::kCancelled) return true;
      if (outcome.status().code() == StatusCode::kNotFound) {
        readers_.erase(session);
        return true;
      }
      if (outcome.status().code() == StatusCode::kStorageFull) ++counters_.saves_failed;
      context_.log(LogLevel::kWarning, "session " + session + ": reading waits: " + outcome.status().message());
      reader.not_before_ns = now + kRetryNs;
      reader.dirty = true;
      return true;
    }
    return true;
  }
  return false;
}

void EngineLoop::save_all() {
  for (auto& [session, reader] : readers_) {
    if (reader.memory == nullptr) continue;
    const Status saved = reader.memory->save();
    if (!saved.ok()) context_.log(LogLevel::kWarning, "session " + session + ": not saved: " + saved.message());
  }
}

}  // namespace recalld::daemon
