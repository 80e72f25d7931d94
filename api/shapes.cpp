#include "api/shapes.h"

#include <boost/json/array.hpp>

#include <cmath>
#include <optional>

#include "api/json_out.h"
#include "base/clock.h"

namespace recalld::api {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

value text_or_null(const std::string& text) { return text.empty() ? value(nullptr) : value(text); }
value turn_or_null(int64_t turn) { return turn < 0 ? value(nullptr) : value(turn); }
value time_or_null(const std::optional<int64_t>& time_ms) {
  return time_ms ? value(format_rfc3339(*time_ms)) : value(nullptr);
}

// JSON has no infinity or NaN, and microseconds are enough.
double figure(double number) { return std::isfinite(number) ? std::round(number * 1000) / 1000 : 0; }

object segment_json(const daemon::RecalledSegment& segment) {
  return {{"episode", segment.episode < 0 ? value(nullptr) : value(segment.episode)},
          {"first_turn", segment.first_turn},
          {"turns", segment.n_turns},
          {"tokens", segment.n_tokens},
          {"first", time_or_null(segment.first_ms)},
          {"last", time_or_null(segment.last_ms)},
          {"score", figure(segment.score)},
          {"signals",
           {{"dense", figure(segment.dense)},
            {"lexical", figure(segment.lexical)},
            {"neighbours", figure(segment.neighbours)},
            {"speaker", figure(segment.speaker)},
            {"time", figure(segment.time)},
            {"prior", figure(segment.prior)}}},
          {"words", array(segment.words.begin(), segment.words.end())}};
}

object episode_head(int32_t id, const std::string& title, const std::optional<int64_t>& first_ms,
                    const std::optional<int64_t>& last_ms) {
  return {{"id", id}, {"title", title}, {"first", time_or_null(first_ms)}, {"last", time_or_null(last_ms)}};
}

object chunk(const AnswerHead& head, array choices) {
  return {{"id", head.id},
          {"object", "chat.completion.chunk"},
          {"created", head.created_s},
          {"model", head.model},
          {"choices", std::move(choices)}};
}

object choice_chunk(const AnswerHead& head, object delta, value finish_reason, bool include_usage) {
  object choice{
      {"index", 0}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", std::move(finish_reason)}};
  object result = chunk(head, array{std::move(choice)});
  if (include_usage) result["usage"] = nullptr;
  return result;
}

object ws_event(const char* type, const std::string& id) {
  object event{{"type", type}};
  if (!id.empty()) event["id"] = id;
  return event;
}

}  // namespace

object usage_json(const daemon::ChatResult& result) {
  return {{"prompt_tokens", result.prompt_tokens},
          {"completion_tokens", result.completion_tokens},
          {"total_tokens", result.prompt_tokens + result.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", result.recall.tokens_reused}}}};
}

object recall_json(const std::string& session, const daemon::ChatResult& result) {
  const daemon::RecallReport& recall = result.recall;
  array segments;
  for (const daemon::RecalledSegment& segment : recall.segments) segments.push_back(segment_json(segment));
  array episodes;
  for (const daemon::RecalledEpisode& episode : recall.episodes)
    episodes.push_back(episode_head(episode.id, episode.title, episode.first_ms, episode.last_ms));
  return {{"session", text_or_null(session)},
          {"user_turn", turn_or_null(result.user_turn)},
          {"assistant_turn", turn_or_null(result.assistant_turn)},
          {"chosen_by", recall.chosen_by},
          {"chosen_tokens", recall.chosen_tokens},
          {"recent_tokens", recall.recent_tokens},
          {"margin", figure(recall.margin)},
          {"search_ms", figure(recall.search_ms)},
          {"episodes", std::move(episodes)},
          {"segments", std::move(segments)},
          {"tokens_reused", recall.tokens_reused},
          {"tokens_read", recall.tokens_read},
          {"tokens_pending", recall.tokens_pending},
          {"pages", recall.pages},
          {"view_bytes", recall.view_bytes},
          {"view_f16_bytes", recall.view_f16_bytes},
          {"load_ms", figure(recall.load_ms)},
          {"queue_ms", figure(recall.queue_ms)},
          {"first_token_ms", figure(recall.first_token_ms)},
          {"decode_tokens_per_s", figure(recall.decode_tokens_per_s)}};
}

object completion_json(const AnswerHead& head, const daemon::ChatResult& result) {
  object message{{"role", "assistant"}, {"content", result.text}, {"refusal", nullptr}};
  object choice{
      {"index", 0}, {"message", std::move(message)}, {"logprobs", nullptr}, {"finish_reason", result.finish_reason}};
  return {{"id", head.id},
          {"object", "chat.completion"},
          {"created", head.created_s},
          {"model", head.model},
          {"choices", array{std::move(choice)}},
          {"usage", usage_json(result)},
          {"recall", recall_json(head.session, result)}};
}

object first_chunk(const AnswerHead& head, bool include_usage) {
  return choice_chunk(head, {{"role", "assistant"}, {"content", ""}}, nullptr, include_usage);
}

object delta_chunk(const AnswerHead& head, const std::string& text, bool include_usage) {
  return choice_chunk(head, {{"content", text}}, nullptr, include_usage);
}

object last_chunk(const AnswerHead& head, const daemon::ChatResult& result, bool include_usage) {
  object last = choice_chunk(head, {}, value(result.finish_reason), include_usage);
  last["recall"] = recall_json(head.session, result);
  return last;
}

object usage_chunk(const AnswerHead& head, const daemon::ChatResult& result) {
  object last = chunk(head, {});
  last["usage"] = usage_json(result);
  return last;
}

object ws_start(const std::string& id, int64_t user_turn) {
  object event = ws_event("start", id);
  event["user_turn"] = turn_or_null(user_turn);
  return event;
}

object ws_delta(const std::string& id, const std::string& text) {
  object event = ws_event("delta", id);
  event["text"] = text;
  return event;
}

object ws_done(const std::string& id, const std::string& session, const daemon::ChatResult& result) {
  object event = ws_event("done", id);
  event["text"] = result.text;
  event["finish_reason"] = result.finish_reason;
  event["usage"] = usage_json(result);
  event["recall"] = recall_json(session, result);
  return event;
}

object ws_error(const std::string& id, const HttpError& error) {
  object event = ws_event("error", id);
  event["error"] = error_json(error).at("error");
  return event;
}

object model_json(const daemon::ModelCard& card) {
  return {{"id", card.id},
          {"object", "model"},
          {"created", card.created_s},
          {"owned_by", "recalld"},
          {"architecture", card.architecture},
          {"context_length", card.context},
          {"fingerprint", card.fingerprint}};
}

object session_json(const daemon::SessionInfo& info) {
  return {{"id", info.id},
          {"object", "session"},
          {"title", info.title},
          {"style", info.style},
          {"turn_count", info.turns},
          {"created_at", format_rfc3339(info.created_ms)},
          {"updated_at", format_rfc3339(info.updated_ms)}};
}

object turn_json(const daemon::Turn& turn) {
  const daemon::Message& message = turn.message;
  return {{"index", turn.index},
          {"role", message.role},
          {"speaker", text_or_null(message.speaker)},
          {"content", message.text},
          {"time", time_or_null(message.time_ms)}};
}

object memory_json(const std::string& session, const daemon::MemoryInfo& info) {
  array episodes;
  for (const daemon::EpisodeInfo& episode : info.episodes) {
    object entry = episode_head(episode.id, episode.title, episode.first_ms, episode.last_ms);
    entry["segments"] = episode.segments;
    entry["turns"] = episode.turns;
    entry["tokens"] = episode.tokens;
    episodes.push_back(std::move(entry));
  }
  return {{"object", "session.memory"},
          {"session", session},
          {"state", info.state},
          {"codec", info.codec},
          {"turns", info.turns},
          {"tokens_total", info.tokens_total},
          {"tokens_ready", info.tokens_ready},
          {"tokens_pending", info.tokens_pending},
          {"pages", info.pages},
          {"bytes_disk", info.bytes_disk},
          {"bytes_resident", info.bytes_resident},
          {"bytes_ram", info.bytes_ram},
          {"bytes_f16", info.bytes_f16},
          {"pages_dropped", info.pages_dropped},
          {"reading", text_or_null(info.reading)},
          {"encoder", text_or_null(info.encoder)},
          {"recall_tokens", info.recall_tokens},
          {"segments", info.segments},
          {"segments_pending", info.segments_pending},
          {"episodes", std::move(episodes)}};
}

std::string sse_event(const object& object) { return "data: " + to_json(object) + "\n\n"; }

}  // namespace recalld::api
