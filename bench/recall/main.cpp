// Are answers from a small composed view as good as with the whole history in the window? Every arm is one way to give
// the model what it needs of a conversation; each question with known evidence is asked under every arm.
//
// recovery = (mean NLL of none - mean NLL of the arm) / (mean NLL of none - mean NLL of full), of the gold answer,
// teacher-forced, in the plain format: 1 is as good as the whole history in the window, above 1 is better. Where no
// history fits the window, evidence_text takes full's place.

#include <cstdio>
#include <filesystem>

#include "bench/files.h"
#include "bench/recall/figures.h"
#include "bench/recall/options.h"
#include "bench/recall/plot.h"
#include "bench/recall/runner.h"
#include "bench/recall/table.h"
#include "bench/report.h"

namespace recalld::bench {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Result<std::vector<Conversation>> conversations_of(const Options& options) {
  RECALLD_ASSIGN_OR_RETURN(const auto all, read_conversations(options.data, options.captions));
  std::vector<Conversation> chosen;
  for (const Conversation& conversation : all)
    if (in_split(options, conversation.id)) chosen.push_back(conversation);
  if (chosen.empty())
    return not_found("no conversation of the split '" + options.split + "' in '" + options.data + "'");
  return chosen;
}

Status run(const Options& options, std::vector<ModelSummary>* models) {
  RECALLD_ASSIGN_OR_RETURN(const auto conversations, conversations_of(options));
  for (size_t i = 0; i < options.models.size(); ++i) {
    RECALLD_ASSIGN_OR_RETURN(const ModelResults results, measure(options, conversations, i));
    models->push_back(summarize(results, {.resamples = options.resamples, .seed = options.seed}));
  }
  if (options.plan) return ok_status();
  const std::string table = markdown(options, *models);
  std::fputs(table.c_str(), stdout);
  RECALLD_RETURN_IF_ERROR(write_file(options.out + "/recall.md", table));
  return write_file(options.out + "/recall.svg", svg_plot(*models));
}

int finish(const Options& options, const std::vector<ModelSummary>& models) {
  std::vector<std::string> files;
  for (const ModelSummary& model : models) files.push_back(model.file);
  Report report("recall", joined(files));
  report.head("split", options.split);
  report.head("history", setting_name(options));
  report.head("conversations", models.empty() ? "" : joined(models.front().conversations));
  add_figures(options, models, &report);
  return report.finish();
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  using namespace recalld::bench;
  Options options;
  int exit_code = 0;
  if (!read_options(argc, argv, &options, &exit_code)) return exit_code;
  std::vector<ModelSummary> models;
  const recalld::Status status = run(options, &models);
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.to_string().c_str());
    return 1;
  }
  return options.plan ? 0 : finish(options, models);
}
