// Conversations in files, as messages. Pure functions: text in, messages out, all or nothing.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "daemon/service.h"

namespace recalld::daemon {

inline constexpr size_t kMaxImportMessages = 1'000'000;

// One message object a line (daemon/message_json.h). Blank lines, CRLF and a byte order mark are accepted.
// kInvalidArgument names the line; a text without messages is an error; kTooLarge over kMaxImportMessages.
Result<std::vector<Message>> parse_ndjson(std::string_view text);

// A LoCoMo conversation: {"conversation": {"speaker_a", "speaker_b", "session_1_date_time": "1:56 pm on 8 May, 2023",
// "session_1": [{"speaker", "text", "blip_caption"?}, ...], ...}}, the inner object alone, or an array of exactly one.
// Sessions come in the order of their numbers. speaker_a is the user, speaker_b the assistant; a turn has its session's
// date (UTC), none when the session has none; a caption is appended as " [shares a photo: ...]". Errors name the place.
Result<std::vector<Message>> parse_locomo(std::string_view text);

// Unix milliseconds of "1:56 pm on 8 May, 2023", UTC.
Result<int64_t> parse_locomo_time(std::string_view text);

// Equal messages have equal names, whatever file they came from. 32 hexadecimal digits.
std::string messages_digest(std::span<const Message> messages);

}  // namespace recalld::daemon
