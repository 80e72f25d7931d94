#include "bench/recall/table.h"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace recalld::bench {
namespace {

std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* pattern, ...) {
  std::array<char, 256> buffer{};
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(buffer.data(), buffer.size(), pattern, arguments);
  va_end(arguments);
  return buffer.data();
}

std::string share(double value) { return value > 0 ? format("1/%.1f", 1 / value) : "0"; }

std::string optional_number(const std::optional<double>& value, const char* pattern) {
  if (!value.has_value()) return "";
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, *value);  // NOLINT: patterns of this file
  return buffer.data();
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string row(const ArmSummary& arm) {
  std::string recovery;
  if (arm.recovery.has_value())
    recovery = format("%.2f (%.2f-%.2f; %.2f-%.2f)", *arm.recovery, arm.recovery_questions.low,
                      arm.recovery_questions.high, arm.recovery_conversations.low, arm.recovery_conversations.high);
  std::string line = "| " + arm_title(arm) + " | " + format("%.3f", arm.nll) + " | " + recovery + " | " +
                     format("%.0f %%", 100 * arm.better_than_full) + " | " + optional_number(arm.kl, "%.3f") + " | " +
                     format("%.2f", arm.coverage) + " | " + format("%.2f", arm.survival) + " | ";
  if (arm.f1_locomo.has_value()) line += format("%.1f / %.1f", 100 * *arm.f1_locomo, 100 * *arm.f1_epicache);
  return line + " | " + format("%.0f", arm.tokens) + " | " + spoken_bytes(arm.bytes_touched) + " (" +
         share(arm.touched_share) + ") | " + spoken_bytes(arm.bytes_held) + " (" + share(arm.held_share) + ") | " +
         format("%.2f", arm.build_tokens) + " | " + format("%.0f", arm.first_token_ms) + " |\n";
}

std::string section(const Options& options, const ModelSummary& model) {
  int questions = 0;
  for (const ArmSummary& arm : model.arms) questions = std::max(questions, arm.questions);
  std::string text = "## " + model.file + ", " + setting_name(options) + ", " + options.split + " split\n\n";
  text += joined(model.conversations) + "; " + std::to_string(questions) + " questions. 1.00 is " + model.reference +
          ". The histories' caches in 16 bits have " + spoken_bytes(model.f16_bytes) + " on average.\n\n";
  text +=
      "| arm | NLL | recovery (95 % over questions; over conversations) | better than full | KL to full | coverage | "
      "survival | F1 LoCoMo / EpiCache | tokens | bytes touched | bytes held | build tokens per token | first token, "
      "ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const ArmSummary& arm : model.arms) text += row(arm);
  if (model.cold_to_ours.has_value() || model.text_rag_to_ours.has_value()) text += "\n";
  if (model.text_rag_to_ours.has_value())
    text += format("First token: re-reading retrieved text takes %.1fx the time of ours. ", *model.text_rag_to_ours);
  if (model.cold_to_ours.has_value())
    text += format("Reading the whole history takes %.0fx the time of ours.", *model.cold_to_ours);
  if (!model.left_out.empty()) text += "\n";
  for (const std::string& note : model.left_out) text += "\nLeft out: " + note + ".";
  return text + "\n";
}

}  // namespace

std::string arm_title(const ArmSummary& arm) {
  return arm.budget == 0 ? arm.name : arm.name + " " + std::to_string(arm.budget);
}

std::string spoken_bytes(double bytes) {
  constexpr double kKi = 1024;
  if (bytes >= 100 * kKi * kKi) return format("%.0f MiB", bytes / kKi / kKi);
  if (bytes >= kKi * kKi) return format("%.1f MiB", bytes / kKi / kKi);
  return format("%.0f KiB", bytes / kKi);
}

std::string markdown(const Options& options, const std::vector<ModelSummary>& models) {
  std::string text;
  for (const ModelSummary& model : models) text += (text.empty() ? "" : "\n") + section(options, model);
  return text;
}

}  // namespace recalld::bench
