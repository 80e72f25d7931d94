// What is known of one question under one arm, and of one arm's build: a line of the record file each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace recalld::bench {

struct QuestionRecord {
  std::string key;   // of model, conversation and arm: see record_store.h
  int question = 0;  // index in the file's list
  int category = 0;
  double nll = 0;
  std::optional<double> kl;
  double survival = 0;   // share of the evidence's tokens
  bool covered = false;  // all of the evidence
  int64_t view_tokens = 0, text_tokens = 0;
  int64_t bytes_touched = 0;
  double first_token_ms = 0;  // compose, read text and question
  int64_t run = 0;            // when the program that measured it began: times of one run compare
  std::optional<std::string> answer;
  double f1_locomo = 0, f1_epicache = 0;  // of the answer
};

struct BuildRecord {
  std::string key;
  int64_t history_tokens = 0, tokens_read = 0;
  int64_t bytes_held = 0;
  double seconds = 0;
  int64_t run = 0;  // as above
};

// One line of JSON without its end.
std::string to_line(const QuestionRecord& record);
std::string to_line(const BuildRecord& record);

// False, leaving both alone, for a line that is neither; otherwise the one it is receives a value.
bool from_line(std::string_view line, std::optional<QuestionRecord>* question, std::optional<BuildRecord>* build);

}  // namespace recalld::bench
