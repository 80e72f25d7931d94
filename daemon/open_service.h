// Makes the real Service: the model, the stores and the engine thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "daemon/service.h"
#include "episodes/trunk.h"
#include "retrieval/select.h"

namespace recalld::daemon {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Receives one event; called from any thread. Never message contents.
using EventLog = std::function<void(LogLevel level, const std::string& event)>;

struct ServiceOptions {
  std::string model_path;
  std::string model_sha256;  // lower-case hex the file must have; empty: not checked
  int32_t threads = 1;
  int32_t context = 0;       // window in tokens; 0: the model's
  std::string encoder_path;  // GGUF of the text encoder; empty: the model's own states
  std::string data_dir;
  std::string codec = "trellis-4";
  std::string near_codec;   // of young pages; empty: see episodes::near_pages
  int32_t near_tokens = 0;  // how many tokens are young; 0: likewise
  std::string archive;      // that pages of the codec lie in at rest (quant::archive_options); empty: exact
  std::string calibration;  // file for codecs that need one; empty: calibration_path() in data_dir
  int32_t block_tokens = 128;
  int32_t page_tokens = 256;
  int32_t recent_tokens = 128;
  int32_t pinned_tokens = 16;
  int32_t segment_turns = 1;
  int32_t segment_tokens = 256;
  episodes::ReadingPolicy reading = episodes::ReadingPolicy::kRecent;
  int32_t reading_view_tokens = 0;  // most page tokens that reading sees; 0: what the window leaves
  int32_t view_tokens = 0;          // most page tokens that a question sees; 0: what the window leaves
  int32_t recall_tokens = 1024;     // of segments that a question chooses; 0: everything that fits the window
  retrieval::ViewOrder view_order = retrieval::ViewOrder::kBestLast;
  int32_t answer_reserve_tokens = 1024;  // room kept in the window for question and answer
  int32_t catch_up_tokens = 1024;        // unread history that a question waits for; of more, the newest part is read
                                         // as text with the question
  int64_t ram_bytes = 0;                 // hard limit of KV in memory; 0: none
  int64_t disk_bytes = 0;                // limit of kv.db; 0: none
  int32_t max_queued = 64;               // waiting chat requests
  int32_t max_active = 4;                // answers decoded together
};

// Loads the model, opens the stores, starts the engine thread and takes up reading where it stopped.
// clock outlives the service. Errors name the file or option and the remedy; nothing is left running after one.
Result<std::unique_ptr<Service>> open_service(const ServiceOptions& options, const Clock& clock, EventLog log);

}  // namespace recalld::daemon
