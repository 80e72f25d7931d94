#include "daemon/calibration_texts.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "daemon/builtin_texts.h"
#include "daemon/import.h"
#include "quant/calibration.h"

namespace recalld::daemon {
namespace {

constexpr int64_t kDayMs = int64_t{24} * 60 * 60 * 1000;

// Days are told apart, as they are in a memory's transcript.
std::string plain_transcript(const std::vector<Message>& messages) {
  std::string text = "A conversation:\n";
  std::optional<int64_t> day;
  for (const Message& message : messages) {
    const std::optional<int64_t> at = message.time_ms ? std::optional(*message.time_ms / kDayMs) : std::nullopt;
    if (at != day) text += "\n";
    day = at;
    text += (message.speaker.empty() ? message.role : message.speaker) + ": " + message.text + "\n";
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> builtin_calibration_texts() {
  RECALLD_ASSIGN_OR_RETURN(const std::vector<Message> messages, parse_ndjson(kSampleConversation));
  return std::vector<std::string>{std::string(kSampleProse), plain_transcript(messages), std::string(kSampleMixed)};
}

Result<std::string> read_calibration_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot read the text " + path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string extension = std::filesystem::path(path).extension();
  if (extension != ".json" && extension != ".ndjson") return text;
  auto messages = extension == ".json" ? parse_locomo(text) : parse_ndjson(text);
  if (!messages.ok()) return messages.status().with_context(path);
  return plain_transcript(*messages);
}

std::string calibration_path(const std::string& data_dir, const Digest128& model) {
  return quant::calibration_file(std::filesystem::path(data_dir) / "calibrations", model);
}

}  // namespace recalld::daemon
