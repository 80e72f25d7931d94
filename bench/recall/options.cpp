#include "bench/recall/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "bench/files.h"

namespace recalld::bench {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

}  // namespace

bool read_options(int argc, char** argv, Options* options, int* exit_code) {
  CLI::App app("Answers from a small view of a long history, against the whole history in the window");
  app.add_option("--data", options->data, "folder of conversations with questions (LoCoMo's format)")->required();
  std::vector<std::string> models{"smollm2"};
  app.add_option("--model", models, "smollm2, gemma3 or a GGUF's path; may be given several times");
  app.add_option("--split", options->split, "tuning, test or all")
      ->check(CLI::IsMember({"tuning", "test", "all"}))
      ->capture_default_str();
  app.add_option("--tuning-ids", options->tuning_ids, "conversations of the tuning split; test is all others")
      ->delimiter(',');
  app.add_option("--prefix", options->prefix, "tokens of history, whole turns")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--whole", options->whole, "whole conversations, whether they fit the window or not");
  app.add_flag("--captions", options->captions, "photos' captions are part of the turns");
  app.add_option("--arms", options->arms, "default all: " + list(arm_names()))->delimiter(',');
  app.add_option("--budget", options->budgets, "tokens in the view of the arms that choose")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--categories", options->categories, "of questions")->delimiter(',');
  app.add_option("--limit", options->limit, "questions per conversation; 0 for all")->check(CLI::NonNegativeNumber);
  app.add_flag("--answers", options->answers, "let the model answer, and score its answers");
  app.add_option("--answer-tokens", options->answer_tokens, "of an answer, at most")->check(CLI::PositiveNumber);
  app.add_option("--threads", options->threads, "of the model")->check(CLI::PositiveNumber);
  app.add_option("--seed", options->seed, "of the random arm and the resampling");
  app.add_option("--resamples", options->resamples, "of the confidence intervals")->check(CLI::PositiveNumber);
  app.add_option("--redo", options->redo, "arms to measure again although records are there")->delimiter(',');
  app.add_flag("--plan", options->plan, "say what would be measured, and end");
  app.add_option("--out", options->out, "folder of records, table and plot (default: recall/ beside the figures)");
  options->encoder = environment("RECALLD_ENCODER");
  app.add_option("--encoder", options->encoder, "GGUF of the text encoder (default: RECALLD_ENCODER)");
  options->calibration = "data/sample_prose.txt";
  app.add_option("--calibration", options->calibration, "text that EpiCache's layer budgets are measured on")
      ->capture_default_str();
  options->calibrations = environment("RECALLD_CALIBRATIONS");
  app.add_option("--calibrations", options->calibrations,
                 "folder where recallctl calibrate put FINGERPRINT.rcal, for codecs that need one (default: "
                 "RECALLD_CALIBRATIONS)");
  std::vector<std::string> ours;
  app.add_option(
      "--ours", ours,
      "LABEL:reading=...,view=...,block=...,codec=...,read=...,turns=...,pinned=...,recent=...,order=...; may "
      "be given several times");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error);
    return false;
  }
  if (!ours.empty()) options->ours.clear();
  for (const std::string& text : ours) {
    const Result<OurOptions> parsed = parse_our_options(text);
    if (!parsed.ok()) {
      std::fprintf(stderr, "%s\n", parsed.status().message().c_str());
      *exit_code = 2;
      return false;
    }
    options->ours.push_back(*parsed);
  }
  for (const std::string& model : models) options->models.push_back(model_path(model));
  if (options->arms.empty()) options->arms = arm_names();
  if (options->out.empty()) {
    const std::filesystem::path figures = environment("RECALLD_BENCH_OUT");
    options->out = (figures.empty() ? std::filesystem::path("build/bench") : figures.parent_path()) / "recall";
  }
  return true;
}

ArmOptions arm_options(const Options& options) {
  return {.budgets = options.budgets,
          .seed = options.seed,
          .ours = options.ours,
          .encoder = options.encoder,
          .calibration = options.calibration,
          .calibrations = options.calibrations,
          .folder = options.out};
}

bool in_split(const Options& options, const std::string& id) {
  if (options.split == "all") return true;
  const bool tuning = std::find(options.tuning_ids.begin(), options.tuning_ids.end(), id) != options.tuning_ids.end();
  return tuning == (options.split == "tuning");
}

std::string setting_name(const Options& options) {
  return (options.whole ? "whole" : "prefix " + std::to_string(options.prefix)) +
         (options.captions ? " with captions" : "");
}

}  // namespace recalld::bench
