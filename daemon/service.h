// What the daemon does, as its front (api/) sees it. HTTP and WebSocket are one way to call it; tests are another.
//
// Threads: every function may be called from any thread. Those that return a Result do storage work only (milliseconds)
// and block; chat() returns at once and reports to its sink from the engine thread.
//
// Principals: every call names one ("local" without authentication). A session belongs to the principal that made it;
// another principal gets kNotFound, as if it did not exist.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace recalld::daemon {

// One message of a conversation. Text is valid UTF-8 without NUL (callers check with check_text).
struct Message {
  std::string role;     // "user", "assistant", "system"
  std::string speaker;  // a person's name, or empty
  std::string text;
  std::optional<int64_t> time_ms;  // when it was said, Unix milliseconds; none = now, or unknown on import
};

struct SamplingOptions {
  float temperature = 1.0F;  // 0 = greedy
  float top_p = 1.0F;
  int32_t top_k = 0;  // 0 = off
  float min_p = 0.0F;
  float repeat_penalty = 1.0F;
  float frequency_penalty = 0.0F;
  float presence_penalty = 0.0F;
  std::optional<uint64_t> seed;   // none = random
  int32_t max_tokens = 0;         // 0 = until the model stops or the window is full
  std::vector<std::string> stop;  // at most 16 strings; never part of the answer
};

struct ChatRequest {
  std::string principal;
  std::string session;            // empty: stateless, nothing is remembered
  std::vector<Message> messages;  // the last one is the user's
  SamplingOptions sampling;
  bool remember = true;  // with a session: append the question and the answer to it
};

// A segment that an answer's view was given because of the question, and why.
struct RecalledSegment {
  int64_t first_turn = 0;
  int32_t n_turns = 0;
  int32_t n_tokens = 0;
  std::optional<int64_t> first_ms, last_ms;  // when it was said
  int32_t episode = -1;                      // -1: in none yet
  double score = 0;                          // the sum of the signals (retrieval/segment_index.h)
  double dense = 0, lexical = 0, neighbours = 0, speaker = 0, time = 0, prior = 0;
  std::vector<std::string> words;  // of the question, found in it
};

struct RecalledEpisode {
  int32_t id = 0;
  std::string title;
  std::optional<int64_t> first_ms, last_ms;
};

// What an answer was made from.
struct RecallReport {
  // Chosen by the question, in the view's order; empty when the whole history fits the view (chosen_by is "all").
  std::vector<RecalledSegment> segments;
  std::vector<RecalledEpisode> episodes;  // of these segments, by id
  std::string chosen_by = "all";          // "all", "question", "recent": what decided on the view
  double margin = 0;                      // of the ranking: how clear the best episode was
  int64_t chosen_tokens = 0;              // of `segments`
  int64_t recent_tokens = 0;              // of the newest tokens, that every answer sees
  double search_ms = 0;                   // embedding the question and ranking
  int64_t tokens_reused = 0;              // history tokens taken from memory, not read again
  int64_t tokens_read = 0;                // prompt tokens that went through the model for this answer
  int64_t tokens_pending = 0;             // history tokens not yet in memory
  int64_t view_bytes = 0;                 // bytes of KV the query could attend to
  int64_t view_f16_bytes = 0;             // the same tokens in 16 bits
  int64_t pages = 0;
  double load_ms = 0;  // pages from disk
  double queue_ms = 0;
  double first_token_ms = 0;  // from the request to the first token
  double decode_tokens_per_s = 0;
};

struct ChatResult {
  std::string text;
  std::string finish_reason;  // "stop" or "length"
  int64_t prompt_tokens = 0;  // reused + read
  int64_t completion_tokens = 0;
  int64_t user_turn = -1;  // transcript index of the question, with a session and remember
  int64_t assistant_turn = -1;
  RecallReport recall;
};

// Receives one answer. Called from the engine thread; must return at once (post elsewhere) and not throw.
class ChatSink {
 public:
  virtual ~ChatSink() = default;
  // The request is about to run; called once, before any delta. user_turn as in ChatResult.
  virtual void on_start(int64_t user_turn) = 0;
  // A piece of the answer: valid UTF-8, never empty. Returning false ends the generation (the client went away).
  virtual bool on_delta(const std::string& text) = 0;
  // Exactly one of these two, last.
  virtual void on_done(const ChatResult& result) = 0;
  virtual void on_error(const Status& status) = 0;
};

struct SessionInfo {
  std::string id;  // "s_" and 26 characters
  std::string title;
  int64_t created_ms = 0;
  int64_t updated_ms = 0;
  int64_t turns = 0;
  std::string style;  // "template" or "plain": how turns are written for the model
};

struct EpisodeInfo {
  int32_t id = 0;
  std::string title;
  std::optional<int64_t> first_ms, last_ms;
  int64_t segments = 0, turns = 0, tokens = 0;
};

struct MemoryInfo {
  std::vector<EpisodeInfo> episodes;  // by id
  int64_t segments = 0;
  int64_t segments_pending = 0;  // read, but not embedded yet: found by words alone until then
  std::string encoder;           // what embeds: "all-MiniLM-L6-v2", or the model's own states
  std::string reading;           // the reading policy
  int64_t recall_tokens = 0;     // the budget of a view; 0: everything that fits the window
  int64_t turns = 0;
  int64_t tokens_total = 0;  // of the transcript as the model reads it
  int64_t tokens_ready = 0;  // in memory
  int64_t tokens_pending = 0;
  int64_t pages = 0;
  int64_t bytes_disk = 0;      // what lies in kv.db for the session, vectors and tables included
  int64_t bytes_resident = 0;  // of its pages on disk, when they are in memory
  int64_t bytes_ram = 0;       // of pages and rows that are in memory now
  int64_t bytes_f16 = 0;       // tokens_ready in 16 bits
  std::string codec;
  std::string state;          // "ready", "reading", "rebuilding", "waiting"
  int64_t pages_dropped = 0;  // failed their checksum or fingerprint and were rebuilt
};

struct ImportResult {
  int64_t turns = 0;
  int64_t first_turn = 0;
  bool duplicate = false;  // the same content was imported before; nothing was added
};

struct Turn {
  int64_t index = 0;
  Message message;
};

struct ModelCard {
  std::string id;  // file name without .gguf
  std::string path;
  std::string architecture;
  int64_t context = 0;
  int64_t created_s = 0;
  std::string fingerprint;
};

struct StoreCheck {
  std::string name;  // "memory.db", "kv.db"
  bool ok = true;
  std::vector<std::string> problems;
};

class Service {
 public:
  virtual ~Service() = default;

  virtual ModelCard model() const = 0;
  // ok when requests can be served; kUnavailable while starting or draining, kStorageFull while writes fail.
  virtual Status ready() const = 0;

  // style: "", "template" or "plain" ("" = template when the model has one).
  virtual Result<SessionInfo> create_session(const std::string& principal, const std::string& title,
                                             const std::string& style) = 0;
  virtual Result<SessionInfo> session(const std::string& principal, const std::string& id) = 0;
  virtual Result<std::vector<SessionInfo>> sessions(const std::string& principal) = 0;
  virtual Result<MemoryInfo> memory(const std::string& principal, const std::string& id) = 0;
  virtual Result<std::vector<Turn>> turns(const std::string& principal, const std::string& id, int64_t first,
                                          int64_t limit) = 0;
  virtual Status remove_session(const std::string& principal, const std::string& id) = 0;

  // All or nothing; on return the turns survive kill -9 and power loss. Returns the index of the first new turn.
  virtual Result<int64_t> append(const std::string& principal, const std::string& id,
                                 std::span<const Message> messages) = 0;
  // As append, for a whole file; content_digest recognises a repeated import. `style` "plain" sessions suit named
  // speakers.
  virtual Result<ImportResult> import(const std::string& principal, const std::string& id,
                                      std::span<const Message> messages, const std::string& content_digest) = 0;

  // Starts an answer. Errors that are known at once are returned and the sink is never called; later ones go to
  // on_error. The request is queued before background reading; requests of one session run in order.
  virtual Status chat(ChatRequest request, std::shared_ptr<ChatSink> sink) = 0;

  // Consistent copy of memory.db to a new file on the daemon's machine. kAlreadyExists when it is there.
  virtual Status backup(const std::string& path) = 0;
  // Integrity of both stores, every page's checksum included.
  virtual Result<std::vector<StoreCheck>> verify() = 0;

  // Name, help, type ("counter" | "gauge") and value of every engine metric.
  struct Metric {
    std::string name, help, type;
    double value = 0;
    std::map<std::string, std::string> labels;
  };
  virtual std::vector<Metric> metrics() const = 0;

  // Settings that may change while running (log level is the front's own affair). Unknown ones are ignored.
  virtual void reload(const std::map<std::string, std::string>& settings) = 0;

  // No new requests; running answers finish or, after the deadline, are cancelled; everything is written. Blocks.
  virtual void drain(int64_t deadline_ms) = 0;
};

// kInvalidArgument, naming `what` and the byte offset, when the text is not valid UTF-8 or holds NUL.
Status check_text(std::string_view text, std::string_view what);

}  // namespace recalld::daemon
