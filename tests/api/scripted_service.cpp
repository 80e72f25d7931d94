#include "tests/api/scripted_service.h"

#include <chrono>
#include <limits>

namespace recalld::daemon {

ScriptedService::ScriptedService() {
  script_ = [](const ChatRequest&, ChatSink& sink) {
    sink.on_start(4);
    for (const char* piece : {"Hello", ", ", "world."})
      if (!sink.on_delta(piece)) return sink.on_error(cancelled("the client went away"));
    sink.on_done(result("Hello, world."));
  };
  engine_ = std::thread([this] { run(); });
}

ScriptedService::~ScriptedService() { drain(0); }

ChatResult ScriptedService::result(const std::string& text) {
  ChatResult result;
  result.text = text;
  result.finish_reason = "stop";
  result.prompt_tokens = 120;
  result.completion_tokens = 4;
  result.user_turn = 4;
  result.assistant_turn = 5;
  result.recall.tokens_reused = 100;
  result.recall.tokens_read = 20;
  result.recall.first_token_ms = 12.5;
  result.recall.chosen_by = "question";
  result.recall.margin = 0.25;
  result.recall.chosen_tokens = 60;
  result.recall.recent_tokens = 40;
  result.recall.search_ms = 1.5;
  RecalledSegment dated;
  dated.first_turn = 1;
  dated.n_turns = 2;
  dated.n_tokens = 50;
  dated.first_ms = 1'683'554'160'000;
  dated.last_ms = 1'683'554'220'000;
  dated.episode = 3;
  dated.score = 4.5;
  dated.dense = 2;
  dated.lexical = 1.25;
  dated.neighbours = 0.5;
  dated.speaker = 0.25;
  dated.time = 0.375;
  dated.prior = 0.125;
  dated.words = {"canoe", "caf\u00e9"};
  RecalledSegment undated;
  undated.first_turn = 3;
  undated.n_turns = 1;
  undated.n_tokens = 10;
  undated.score = std::numeric_limits<double>::infinity();
  result.recall.segments = {dated, undated};
  result.recall.episodes = {{3, "canoe, boathouse", 1'683'554'160'000, 1'683'640'560'000}};
  return result;
}

void ScriptedService::set_script(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void ScriptedService::set_ready(Status status) {
  const std::lock_guard lock(mutex_);
  ready_ = std::move(status);
}

void ScriptedService::set_failure(Status status) {
  const std::lock_guard lock(mutex_);
  failure_ = std::move(status);
}

std::vector<ChatRequest> ScriptedService::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

bool ScriptedService::wait_ended(size_t count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return ended_ >= count; });
}

void ScriptedService::run() {
  while (true) {
    Job job;
    Script script;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
      script = script_;
    }
    script(job.request, *job.sink);
    job.sink.reset();
    const std::lock_guard lock(mutex_);
    ++ended_;
    changed_.notify_all();
  }
}

ModelCard ScriptedService::model() const { return {"tiny", "/models/tiny.gguf", "llama", 2048, 1'700'000'000, "f00d"}; }

Status ScriptedService::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

Result<ScriptedService::Stored*> ScriptedService::find(const std::string& principal, const std::string& id) {
  if (!failure_.ok()) return failure_;
  const auto found = stored_.find(id);
  if (found == stored_.end() || found->second.principal != principal)
    return not_found("there is no session '" + id + "'");
  return &found->second;
}

Result<SessionInfo> ScriptedService::create_session(const std::string& principal, const std::string& title,
                                                    const std::string& style) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  SessionInfo info;
  info.id = "s_" + std::to_string(stored_.size() + 1);
  info.title = title;
  info.style = style.empty() ? "template" : style;
  info.created_ms = info.updated_ms = 1'683'554'160'000;
  stored_[info.id] = {principal, info, {}, {}};
  return info;
}

Result<SessionInfo> ScriptedService::session(const std::string& principal, const std::string& id) {
  const std::lock_guard lock(mutex_);
  RECALLD_ASSIGN_OR_RETURN(const Stored* stored, find(principal, id));
  SessionInfo info = stored->info;
  info.turns = static_cast<int64_t>(stored->turns.size());
  return info;
}

Result<std::vector<SessionInfo>> ScriptedService::sessions(const std::string& principal) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  std::vector<SessionInfo> list;
  for (const auto& [id, stored] : stored_)
    if (stored.principal == principal) list.push_back(stored.info);
  return list;
}

Result<MemoryInfo> ScriptedService::memory(const std::string& principal, const std::string& id) {
  const std::lock_guard lock(mutex_);
  RECALLD_ASSIGN_OR_RETURN(const Stored* stored, find(principal, id));
  MemoryInfo info;
  info.turns = static_cast<int64_t>(stored->turns.size());
  info.codec = "turboquant-4";
  info.state = "ready";
  info.encoder = "all-MiniLM-L6-v2";
  info.reading = "recent";
  info.recall_tokens = 1024;
  info.segments = 5;
  info.segments_pending = 1;
  info.episodes = {{0, "canoe, boathouse", 1'683'554'160'000, 1'683'640'560'000, 3, 7, 420}, {1, "", {}, {}, 1, 1, 9}};
  return info;
}

Result<std::vector<Turn>> ScriptedService::turns(const std::string& principal, const std::string& id, int64_t first,
                                                 int64_t limit) {
  const std::lock_guard lock(mutex_);
  RECALLD_ASSIGN_OR_RETURN(const Stored* stored, find(principal, id));
  std::vector<Turn> list;
  for (const Turn& turn : stored->turns)
    if (turn.index >= first && static_cast<int64_t>(list.size()) < limit) list.push_back(turn);
  return list;
}

Status ScriptedService::remove_session(const std::string& principal, const std::string& id) {
  const std::lock_guard lock(mutex_);
  RECALLD_ASSIGN_OR_RETURN([[maybe_unused]] const Stored* stored, find(principal, id));
  stored_.erase(id);
  return ok_status();
}

Result<int64_t> ScriptedService::append(const std::string& principal, const std::string& id,
                                        std::span<const Message> messages) {
  const std::lock_guard lock(mutex_);
  RECALLD_ASSIGN_OR_RETURN(Stored * stored, find(principal, id));
  const auto first = static_cast<int64_t>(stored->turns.size());
  for (const Message& message : messages)
    stored->turns.push_back({static_cast<int64_t>(stored->turns.size()), message});
  return first;
}

Result<ImportResult> ScriptedService::import(const std::string& principal, const std::string& id,
                                             std::span<const Message> messages, const std::string& content_digest) {
  {
    const std::lock_guard lock(mutex_);
    RECALLD_ASSIGN_OR_RETURN(Stored * stored, find(principal, id));
    const auto [place, fresh] = stored->imports.emplace(content_digest, static_cast<int64_t>(stored->turns.size()));
    if (!fresh) return ImportResult{0, place->second, true};
  }
  RECALLD_ASSIGN_OR_RETURN(const int64_t first, append(principal, id, messages));
  return ImportResult{static_cast<int64_t>(messages.size()), first, false};
}

Status ScriptedService::chat(ChatRequest request, std::shared_ptr<ChatSink> sink) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (stop_) return unavailable("the daemon is shutting down");
  if (!request.session.empty()) RECALLD_RETURN_IF_ERROR(find(request.principal, request.session).status());
  requests_.push_back(request);
  jobs_.push_back({std::move(request), std::move(sink)});
  changed_.notify_all();
  return ok_status();
}

Status ScriptedService::backup(const std::string& path) {
  return path == "/exists" ? already_exists("/exists is there already; choose another name") : ok_status();
}

Result<std::vector<StoreCheck>> ScriptedService::verify() {
  return std::vector<StoreCheck>{{"memory.db", true, {}}, {"kv.db", false, {"page 7: checksum"}}};
}

std::vector<Service::Metric> ScriptedService::metrics() const {
  return {{"recalld_engine_queue", "Waiting \"chats\".", "gauge", 2, {{"kind", "a\"b\\c\nd"}}},
          {"recalld_tokens_total", "Tokens.", "counter", 1, {}},
          {"recalld_engine_queue", "Waiting \"chats\".", "gauge", 3, {{"kind", "plain"}}}};
}

void ScriptedService::reload(const std::map<std::string, std::string>&) {}

void ScriptedService::drain(int64_t) {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (engine_.joinable()) engine_.join();
}

}  // namespace recalld::daemon
