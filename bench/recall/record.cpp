#include "bench/recall/record.h"

#include <boost/json.hpp>

namespace recalld::bench {
namespace {

namespace json = boost::json;

double number(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0;
}

int64_t whole(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

QuestionRecord question_of(const json::object& object, std::string key) {
  QuestionRecord record{.key = std::move(key),
                        .question = static_cast<int>(whole(object, "question")),
                        .category = static_cast<int>(whole(object, "category")),
                        .nll = number(object, "nll"),
                        .survival = number(object, "survival"),
                        .covered = whole(object, "covered") != 0,
                        .view_tokens = whole(object, "view_tokens"),
                        .text_tokens = whole(object, "text_tokens"),
                        .bytes_touched = whole(object, "bytes_touched"),
                        .first_token_ms = number(object, "first_token_ms"),
                        .run = whole(object, "run"),
                        .f1_locomo = number(object, "f1_locomo"),
                        .f1_epicache = number(object, "f1_epicache")};
  if (object.contains("kl")) record.kl = number(object, "kl");
  if (const json::value* answer = object.if_contains("answer"); answer != nullptr && answer->is_string())
    record.answer = std::string(answer->get_string());
  return record;
}

}  // namespace

std::string to_line(const QuestionRecord& record) {
  json::object object{{"key", record.key},
                      {"question", record.question},
                      {"category", record.category},
                      {"nll", record.nll},
                      {"survival", record.survival},
                      {"covered", record.covered ? 1 : 0},
                      {"view_tokens", record.view_tokens},
                      {"text_tokens", record.text_tokens},
                      {"bytes_touched", record.bytes_touched},
                      {"first_token_ms", record.first_token_ms},
                      {"run", record.run}};
  if (record.kl.has_value()) object["kl"] = *record.kl;
  if (record.answer.has_value()) {
    object["answer"] = *record.answer;
    object["f1_locomo"] = record.f1_locomo;
    object["f1_epicache"] = record.f1_epicache;
  }
  return json::serialize(object);
}

std::string to_line(const BuildRecord& record) {
  return json::serialize(json::object{{"key", record.key},
                                      {"build", 1},
                                      {"history_tokens", record.history_tokens},
                                      {"tokens_read", record.tokens_read},
                                      {"bytes_held", record.bytes_held},
                                      {"seconds", record.seconds},
                                      {"run", record.run}});
}

bool from_line(std::string_view line, std::optional<QuestionRecord>* question, std::optional<BuildRecord>* build) {
  boost::system::error_code error;
  const json::value root = json::parse(line, error);
  if (error || !root.is_object()) return false;
  const json::object& object = root.get_object();
  const json::value* key = object.if_contains("key");
  if (key == nullptr || !key->is_string()) return false;
  if (object.contains("build")) {
    *build = BuildRecord{.key = std::string(key->get_string()),
                         .history_tokens = whole(object, "history_tokens"),
                         .tokens_read = whole(object, "tokens_read"),
                         .bytes_held = whole(object, "bytes_held"),
                         .seconds = number(object, "seconds"),
                         .run = whole(object, "run")};
    return true;
  }
  if (!object.contains("nll")) return false;
  *question = question_of(object, std::string(key->get_string()));
  return true;
}

}  // namespace recalld::bench
