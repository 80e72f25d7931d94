#include "daemon/engine_service.h"

#include <algorithm>
#include <filesystem>

#include "daemon/reading_position.h"
#include "runtime/model_encoder.h"

namespace recalld::daemon {
namespace {

constexpr size_t kBytesPerToken = 4;
constexpr int64_t kHeartbeatLimitNs = 120'000'000'000;

SessionInfo to_info(const storage::SessionRow& row) {
  return {row.id, row.title, row.created_ms, row.updated_ms, row.turns, row.style};
}

// White space at the ends does not make two messages different: clients trim answers.
std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \n\r\t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \n\r\t") - first + 1);
}

bool same_message(const Message& message, const storage::TurnRow& row) {
  return message.role == row.role && trimmed(message.text) == trimmed(row.text);
}

Status check_roles(std::span<const Message> messages) {
  for (const Message& message : messages)
    if (message.role != "user" && message.role != "assistant" && message.role != "system")
      return invalid_argument("role is '" + message.role + "'; it must be user, assistant or system");
  return ok_status();
}

}  // namespace

EngineService::EngineService(const ServiceOptions& options, const Clock& clock, EventLog log,
                             std::shared_ptr<const runtime::Model> model, std::unique_ptr<runtime::Engine> engine,
                             std::unique_ptr<runtime::TextEncoder> encoder, std::unique_ptr<storage::Stores> stores,
                             episodes::TrunkOptions trunk, std::function<uint64_t()> random)
    : options_(options),
      clock_(clock),
      log_(std::move(log)),
      model_(std::move(model)),
      tokenizer_(std::make_shared<runtime::Tokenizer>(model_)),
      pool_(cache::MemoryPool::create(static_cast<size_t>(options.ram_bytes))),
      encoder_(encoder != nullptr ? std::move(encoder) : runtime::make_model_encoder(*engine, *tokenizer_)),
      stores_(std::move(stores)),
      random_(std::move(random)) {
  MemoryContext context;
  context.model = model_;
  context.tokenizer = tokenizer_;
  context.pool = pool_;
  context.stores = stores_.get();
  context.clock = &clock_;
  context.log = log_;
  context.codec = options.codec;
  context.pages_dropped = &pages_dropped_;
  context.encoder = encoder_.get();
  context.recall_tokens = options.recall_tokens;
  trunk_options_ = std::move(trunk);
  context.trunk = trunk_options_;
  loop_ = std::make_unique<EngineLoop>(std::move(context), std::move(engine), options_);
}

EngineService::~EngineService() { drain(0); }

Status EngineService::resume() {
  RECALLD_ASSIGN_OR_RETURN(const auto rows, stores_->memory().all_sessions());
  for (const storage::SessionRow& row : rows) {
    if (row.turns == 0) continue;
    const auto trunk = stores_->kv().trunk(row.id);
    if (trunk.ok() && trunk->has_value() && (*trunk)->n_turns >= row.turns && is_current(**trunk, style_of(row)) &&
        is_embedded(**trunk))
      continue;
    loop_->wake(row.id, style_of(row));
  }
  return ok_status();
}

ModelCard EngineService::model() const {
  const runtime::ModelInfo& info = model_->info();
  ModelCard card;
  const std::filesystem::path path(info.path);
  card.id = path.stem().string();
  card.path = info.path;
  card.architecture = info.architecture;
  card.context = options_.context > 0 ? options_.context : info.n_ctx_train;
  std::error_code error;
  const auto written = std::filesystem::last_write_time(path, error);
  if (!error)
    card.created_s =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::file_clock::to_sys(written).time_since_epoch())
            .count();
  card.fingerprint = model_->fingerprint().hex();
  return card;
}

Status EngineService::ready() const {
  if (clock_.monotonic_ns() - loop_->heartbeat_ns() > kHeartbeatLimitNs)
    return unavailable("the engine thread has not moved for two minutes");
  return stores_->write_state();
}

Result<storage::SessionRow> EngineService::owned(const std::string& principal, const std::string& id) {
  auto row = stores_->memory().session(principal, id);
  if (!row.ok() && row.status().code() == StatusCode::kNotFound) return not_found("there is no session '" + id + "'");
  return row;
}

episodes::Style EngineService::default_style() const {
  return format_of(episodes::Style::kTemplate).ok() ? episodes::Style::kTemplate : episodes::Style::kPlain;
}

episodes::Style EngineService::style_of(const storage::SessionRow& row) const {
  return episodes::parse_style(row.style).value_or(default_style());
}

bool EngineService::is_current(const storage::TrunkRow& trunk, episodes::Style style) const {
  const auto format = format_of(style);
  return format.ok() &&
         trunk.fingerprint == episodes::trunk_fingerprint(model_->fingerprint(), format->version(), trunk_options_);
}

bool EngineService::is_embedded(const storage::TrunkRow& trunk) const {
  const auto position = unpack_position(trunk.state);
  return position.ok() && position->n_pending == 0 && position->encoder == encoder_->fingerprint();
}

Status EngineService::describe_stored(const std::string& id, const storage::TrunkRow& trunk, MemoryInfo* info) {
  const auto position = unpack_position(trunk.state);
  if (!position.ok()) return ok_status();  // the session's pages are dropped when it is opened
  info->segments_pending = static_cast<int64_t>(position->n_pending);
  RECALLD_ASSIGN_OR_RETURN(const auto stored, stores_->kv().episode_summary(id));
  if (stored.has_value()) {
    const std::vector<storage::SegmentRow>& segments = stored->segments;
    const bool current = stored->encoder == encoder_->fingerprint();
    if (!current) info->segments_pending += std::ssize(segments);
    for (const storage::EpisodeRow& row : stored->episodes) {
      if (!current) break;
      EpisodeInfo episode{row.id, row.title, row.first_ms, row.last_ms, std::ssize(row.segments), 0, 0};
      for (const int32_t index : row.segments) {
        if (index < 0 || index >= std::ssize(segments)) continue;
        episode.turns += segments[static_cast<size_t>(index)].n_turns;
        episode.tokens += segments[static_cast<size_t>(index)].n_tokens;
      }
      info->episodes.push_back(std::move(episode));
    }
    info->segments = std::ssize(segments) + static_cast<int64_t>(position->n_pending);
  } else {
    info->segments = info->segments_pending;
  }
  if (info->segments_pending > 0) info->state = "reading";
  return ok_status();
}

Result<episodes::TranscriptFormat> EngineService::format_of(episodes::Style style) const {
  return episodes::TranscriptFormat::create(tokenizer_, model_->info().chat_template, style);
}

uint64_t EngineService::draw() {
  const std::lock_guard lock(random_mutex_);
  return random_();
}

Result<SessionInfo> EngineService::create_session(const std::string& principal, const std::string& title,
                                                  const std::string& style) {
  const auto parsed = style.empty() ? default_style() : episodes::parse_style(style);
  if (!parsed.has_value()) return invalid_argument("style is '" + style + "'; it must be template or plain");
  RECALLD_RETURN_IF_ERROR(format_of(*parsed).status());
  static constexpr std::string_view kAlphabet = "abcdefghijkmnpqrstuvwxyz23456789";
  storage::SessionRow row;
  row.id = "s_";
  for (int i = 0; i < 2; ++i)
    for (uint64_t bits = draw(), n = 0; n < 13; ++n, bits >>= 5) row.id += kAlphabet[bits & 31];
  row.principal = principal;
  row.title = title;
  row.style = episodes::style_name(*parsed);
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow made, stores_->memory().create_session(std::move(row)));
  return to_info(made);
}

Result<SessionInfo> EngineService::session(const std::string& principal, const std::string& id) {
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow row, owned(principal, id));
  return to_info(row);
}

Result<std::vector<SessionInfo>> EngineService::sessions(const std::string& principal) {
  RECALLD_ASSIGN_OR_RETURN(const auto rows, stores_->memory().sessions(principal));
  std::vector<SessionInfo> infos;
  for (const storage::SessionRow& row : rows) infos.push_back(to_info(row));
  return infos;
}

Result<MemoryInfo> EngineService::memory(const std::string& principal, const std::string& id) {
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow row, owned(principal, id));
  const std::optional<MemoryInfo> live = loop_->info(id);
  MemoryInfo info;
  if (live.has_value()) {
    info = *live;
  } else {
    info.codec = options_.codec;
    info.encoder = encoder_->name();
    info.reading = episodes::reading_policy_name(options_.reading);
    info.recall_tokens = options_.recall_tokens;
    RECALLD_ASSIGN_OR_RETURN(const auto trunk, stores_->kv().trunk(id));
    info.state = "ready";
    if (trunk.has_value() && is_current(*trunk, style_of(row))) {
      info.turns = trunk->n_turns;
      info.tokens_ready = info.tokens_total = trunk->n_tokens;
      RECALLD_RETURN_IF_ERROR(describe_stored(id, *trunk, &info));
    }
    info.bytes_f16 = info.tokens_ready * static_cast<int64_t>(model_->cache_shape().f16_bytes_per_token());
  }
  if (info.turns < row.turns) {
    if (!live.has_value() || info.state != "rebuilding") info.state = "reading";
    // Turns that were not tokenized yet count by their length, so that progress has an end from the beginning.
    RECALLD_ASSIGN_OR_RETURN(const auto unseen, stores_->memory().turns(id, info.turns, -1));
    for (const storage::TurnRow& turn : unseen)
      info.tokens_pending += static_cast<int64_t>((turn.speaker.size() + turn.text.size()) / kBytesPerToken) + 4;
    info.tokens_total = info.tokens_ready + info.tokens_pending;
  }
  info.turns = row.turns;
  RECALLD_ASSIGN_OR_RETURN(const storage::StoredBytes stored_bytes, stores_->kv().bytes(id));
  info.bytes_disk = stored_bytes.file;
  info.bytes_resident = stored_bytes.resident;
  if (!stores_->write_state().ok() && info.state != "ready") info.state = "waiting";
  return info;
}

Result<std::vector<Turn>> EngineService::turns(const std::string& principal, const std::string& id, int64_t first,
                                               int64_t limit) {
  RECALLD_RETURN_IF_ERROR(owned(principal, id).status());
  RECALLD_ASSIGN_OR_RETURN(const auto rows, stores_->memory().turns(id, first, limit));
  std::vector<Turn> turns;
  for (const storage::TurnRow& row : rows) turns.push_back({row.idx, {row.role, row.speaker, row.text, row.time_ms}});
  return turns;
}

Status EngineService::remove_session(const std::string& principal, const std::string& id) {
  RECALLD_RETURN_IF_ERROR(owned(principal, id).status());
  loop_->forget(id);
  return stores_->remove_session(id);
}

Result<std::vector<storage::TurnRow>> EngineService::rows_of(std::span<const Message> messages, bool date_now) const {
  if (messages.empty()) return invalid_argument("there are no messages");
  RECALLD_RETURN_IF_ERROR(check_roles(messages));
  std::vector<storage::TurnRow> rows;
  for (const Message& message : messages) {
    storage::TurnRow row;
    row.role = message.role;
    row.speaker = message.speaker;
    row.text = message.text;
    row.time_ms = message.time_ms;
    if (date_now && !row.time_ms.has_value()) row.time_ms = clock_.now_ms();
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<int64_t> EngineService::append(const std::string& principal, const std::string& id,
                                      std::span<const Message> messages) {
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow session, owned(principal, id));
  RECALLD_ASSIGN_OR_RETURN(std::vector<storage::TurnRow> rows, rows_of(messages, true));
  RECALLD_ASSIGN_OR_RETURN(const int64_t first, stores_->memory().append_turns(id, std::move(rows)));
  loop_->wake(id, style_of(session));
  return first;
}

Result<ImportResult> EngineService::import(const std::string& principal, const std::string& id,
                                           std::span<const Message> messages, const std::string& content_digest) {
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow session, owned(principal, id));
  RECALLD_ASSIGN_OR_RETURN(std::vector<storage::TurnRow> rows, rows_of(messages, false));
  RECALLD_ASSIGN_OR_RETURN(const storage::ImportOutcome outcome,
                           stores_->memory().import_turns(id, content_digest, std::move(rows)));
  loop_->wake(id, style_of(session));
  return ImportResult{outcome.turns, outcome.first_turn, outcome.duplicate};
}

Status EngineService::check_fits(size_t tokens) const {
  const int64_t context = model().context;
  if (static_cast<int64_t>(tokens) < context) return ok_status();
  return too_large("the prompt has " + std::to_string(tokens) + " tokens; the window of this model holds " +
                   std::to_string(context) + ", answer included");
}

Status EngineService::chat(ChatRequest request, std::shared_ptr<ChatSink> sink) {
  RECALLD_RETURN_IF_ERROR(check_sampling(request.sampling));
  RECALLD_RETURN_IF_ERROR(check_roles(request.messages));
  if (request.messages.empty() || request.messages.back().role != "user")
    return invalid_argument("the last message must have the role user");
  return request.session.empty() ? chat_stateless(request, std::move(sink)) : chat_in_session(request, std::move(sink));
}

Status EngineService::chat_stateless(const ChatRequest& request, std::shared_ptr<ChatSink> sink) {
  RECALLD_ASSIGN_OR_RETURN(const episodes::TranscriptFormat format, format_of(default_style()));
  std::vector<episodes::TurnText> turns;
  ChatJob job;
  job.tokens = format.start();
  for (const Message& message : request.messages) {
    const episodes::TurnText turn{message.role, message.speaker, message.text, message.time_ms};
    RECALLD_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, format.turn(turns, turn));
    job.tokens.insert(job.tokens.end(), tokens.begin(), tokens.end());
    turns.push_back(turn);
  }
  const std::vector<int32_t> prefix = format.answer_prefix();
  job.tokens.insert(job.tokens.end(), prefix.begin(), prefix.end());
  RECALLD_RETURN_IF_ERROR(check_fits(job.tokens.size()));
  job.stops = format.stops();
  job.trim = format.style() == episodes::Style::kPlain;
  job.answer = std::make_unique<Answer>(std::move(sink), request.sampling, draw(), tokenizer_, clock_);
  return loop_->submit(std::move(job));
}

Result<std::vector<Message>> EngineService::new_messages(const std::string& session,
                                                         const std::vector<Message>& messages) {
  RECALLD_ASSIGN_OR_RETURN(const int64_t total, stores_->memory().turn_count(session));
  if (total == 0) return messages;
  std::vector<Message> spoken;
  for (const Message& message : messages)
    if (message.role != "system") spoken.push_back(message);
  // The longest end of the transcript that stands in the request; what follows it there is new.
  const auto reach = static_cast<int64_t>(spoken.size()) - 1;
  RECALLD_ASSIGN_OR_RETURN(const auto rows,
                           stores_->memory().turns(session, std::max<int64_t>(0, total - reach), reach));
  for (auto known = static_cast<int64_t>(rows.size()); known > 0; --known) {
    for (int64_t end = reach; end >= known; --end) {
      if (std::equal(rows.end() - known, rows.end(), spoken.begin() + (end - known),
                     [](const storage::TurnRow& row, const Message& message) { return same_message(message, row); }))
        return std::vector<Message>(spoken.begin() + end, spoken.end());
    }
  }
  return std::vector<Message>{spoken.back()};
}

Status EngineService::chat_in_session(const ChatRequest& request, std::shared_ptr<ChatSink> sink) {
  RECALLD_ASSIGN_OR_RETURN(const storage::SessionRow session, owned(request.principal, request.session));
  const episodes::Style style = style_of(session);
  RECALLD_ASSIGN_OR_RETURN(const episodes::TranscriptFormat format, format_of(style));

  const std::lock_guard lock(submit_mutex_);
  RECALLD_ASSIGN_OR_RETURN(std::vector<Message> fresh, new_messages(request.session, request.messages));
  RECALLD_ASSIGN_OR_RETURN(std::vector<storage::TurnRow> rows, rows_of(fresh, true));
  RECALLD_ASSIGN_OR_RETURN(const int64_t total, stores_->memory().turn_count(request.session));
  const auto context = static_cast<int64_t>(episodes::TranscriptFormat::kContextTurns) + 1;
  const int64_t first = std::max<int64_t>(0, total - context);
  RECALLD_ASSIGN_OR_RETURN(const auto known, stores_->memory().turns(request.session, first, total - first));
  std::vector<episodes::TurnText> turns;
  for (const storage::TurnRow& row : known) turns.push_back(to_turn_text(row));
  // Only the question is read with the answer; messages before it are history, remembered and read like any other.
  ChatJob job;
  if (!request.remember) rows.erase(rows.begin(), rows.end() - 1);
  for (size_t i = 0; i < rows.size(); ++i) {
    const episodes::TurnText turn = to_turn_text(rows[i]);
    if (i + 1 == rows.size()) {
      RECALLD_ASSIGN_OR_RETURN(job.tokens, format.turn(turns, turn));
      if (total == 0 && i == 0) {
        const std::vector<int32_t> start = format.start();
        job.tokens.insert(job.tokens.begin(), start.begin(), start.end());
      }
    }
    turns.push_back(turn);
  }
  const std::vector<int32_t> prefix = format.answer_prefix();
  job.tokens.insert(job.tokens.end(), prefix.begin(), prefix.end());
  RECALLD_RETURN_IF_ERROR(check_fits(job.tokens.size()));
  job.session = request.session;
  job.asked = {rows.back().text, rows.back().time_ms};
  job.style = style;
  job.stops = format.stops();
  job.trim = style == episodes::Style::kPlain;
  job.answer = std::make_unique<Answer>(std::move(sink), request.sampling, draw(), tokenizer_, clock_);
  if (request.remember) {
    const auto question = static_cast<int64_t>(rows.size()) - 1;
    RECALLD_ASSIGN_OR_RETURN(const int64_t stored, stores_->memory().append_turns(request.session, std::move(rows)));
    job.question_turn = stored + question;
  }
  return loop_->submit(std::move(job));
}

Status EngineService::backup(const std::string& path) { return stores_->memory().backup_to(path); }

Result<std::vector<StoreCheck>> EngineService::verify() {
  std::vector<StoreCheck> checks;
  RECALLD_ASSIGN_OR_RETURN(auto memory_problems, stores_->memory().check());
  RECALLD_ASSIGN_OR_RETURN(auto kv_problems, stores_->kv().check());
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::string> sessions, stores_->kv().sessions());
  for (const std::string& session : sessions) {
    RECALLD_ASSIGN_OR_RETURN(const auto stored, stores_->kv().trunk_and_chunks(session));
    if (!stored.has_value()) continue;
    for (const storage::ChunkInfo& info : stored->chunks) {
      auto bytes = stores_->kv().load_chunk(session, info.idx);
      if (!bytes.ok()) continue;  // reported by check(), or removed meanwhile
      // Replaced meanwhile: whole as load_chunk says, and of another trunk than the one listed.
      if (checksum64(bytes->span()) != info.checksum) continue;
      const auto pool = cache::MemoryPool::create(0);
      // Whole, whichever model they are of: another than this one's are read anew when their session is opened.
      const Status opened =
          cache::unpack_chunk(bytes->span(), stored->trunk.fingerprint, *pool, trunk_options_.plan).status();
      // Pages of a codec that is no longer configured are read anew; until then they are whole but of no use.
      if (!opened.ok() && opened.code() != StatusCode::kUnsupported)
        kv_problems.push_back("session " + session + ", chunk " + std::to_string(info.idx) + ": " + opened.message());
    }
  }
  checks.push_back({"memory.db", memory_problems.empty(), std::move(memory_problems)});
  checks.push_back({"kv.db", kv_problems.empty(), std::move(kv_problems)});
  return checks;
}

std::vector<Service::Metric> EngineService::metrics() const {
  const LoopCounters& counters = loop_->counters();
  const auto load = [](const std::atomic<int64_t>& value) { return static_cast<double>(value.load()); };
  return {
      {"recalld_answers_total", "Answers finished", "counter", load(counters.answers), {}},
      {"recalld_answer_errors_total", "Answers that ended in an error", "counter", load(counters.answer_errors), {}},
      {"recalld_answers_cancelled_total",
       "Answers whose client went away",
       "counter",
       load(counters.answers_cancelled),
       {}},
      {"recalld_prompt_tokens_total",
       "Prompt tokens by source",
       "counter",
       load(counters.tokens_reused),
       {{"source", "reused"}}},
      {"recalld_prompt_tokens_total",
       "Prompt tokens by source",
       "counter",
       load(counters.tokens_read),
       {{"source", "read"}}},
      {"recalld_decoded_tokens_total", "Tokens decoded", "counter", load(counters.tokens_decoded), {}},
      {"recalld_ingested_tokens_total",
       "History tokens read into memory",
       "counter",
       load(counters.tokens_ingested),
       {}},
      {"recalld_pages_dropped_total",
       "Page groups that failed a check and were read anew",
       "counter",
       load(pages_dropped_),
       {}},
      {"recalld_saves_failed_total", "Writes of memory that failed", "counter", load(counters.saves_failed), {}},
      {"recalld_queued_requests", "Chat requests waiting", "gauge", load(counters.queued), {}},
      {"recalld_active_answers", "Answers in the making", "gauge", load(counters.active), {}},
      {"recalld_kv_ram_bytes", "KV held in memory", "gauge", static_cast<double>(pool_->used()), {}},
      {"recalld_kv_ram_peak_bytes", "The most KV ever held in memory", "gauge", static_cast<double>(pool_->peak()), {}},
      {"recalld_kv_ram_limit_bytes",
       "Limit of KV in memory, 0 for none",
       "gauge",
       static_cast<double>(pool_->limit()),
       {}},
      {"recalld_store_bytes",
       "Size of a database file with its log",
       "gauge",
       static_cast<double>(stores_->memory().file_bytes()),
       {{"file", "memory.db"}}},
      {"recalld_store_bytes",
       "Size of a database file with its log",
       "gauge",
       static_cast<double>(stores_->kv().file_bytes()),
       {{"file", "kv.db"}}},
  };
}

void EngineService::reload(const std::map<std::string, std::string>& /*settings*/) {}

void EngineService::drain(int64_t deadline_ms) { loop_->drain(deadline_ms); }

}  // namespace recalld::daemon
