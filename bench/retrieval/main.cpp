// How often a question's evidence is found within a token budget, and how fast vectors are searched.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "bench/report.h"
#include "bench/retrieval/coverage.h"
#include "bench/retrieval/routing.h"
#include "runtime/gguf_encoder.h"

namespace recalld::bench {
namespace {

struct Settings {
  std::string model, encoder, data, split = "tuning";
  std::vector<std::string> tuning{"conv-26", "conv-30"};
  std::vector<int64_t> budgets{256, 512, 1024, 2048};
  std::vector<int> turns{1};
  std::vector<int64_t> sizes{10, 1000, 100000};
  int64_t prefix_tokens = 6500;
  bool ablate = false;
  RoutingSettings routing;
};

Result<std::vector<History>> read_histories(const Settings& settings) {
  RECALLD_ASSIGN_OR_RETURN(std::vector<Conversation> conversations, read_conversations(settings.data, true));
  RECALLD_ASSIGN_OR_RETURN(const auto model, runtime::Model::load({.path = settings.model}));
  RECALLD_ASSIGN_OR_RETURN(const auto encoder, runtime::open_gguf_encoder(settings.encoder));
  RECALLD_ASSIGN_OR_RETURN(
      const auto format,
      episodes::TranscriptFormat::create(std::make_shared<runtime::Tokenizer>(model), "", episodes::Style::kPlain));
  std::vector<History> histories;
  for (Conversation& conversation : conversations) {
    const bool tuning =
        std::find(settings.tuning.begin(), settings.tuning.end(), conversation.id) != settings.tuning.end();
    if (settings.split != "all" && tuning != (settings.split == "tuning")) continue;
    std::fprintf(stderr, "embedding %s: %zu turns\n", conversation.id.c_str(), conversation.turns.size());
    RECALLD_ASSIGN_OR_RETURN(History history,
                             make_history(std::move(conversation), format, encoder.get(), settings.prefix_tokens));
    histories.push_back(std::move(history));
  }
  if (histories.empty()) return not_found("no conversation of the " + settings.split + " split in " + settings.data);
  return histories;
}

Status report_coverage(const Settings& settings, std::span<const History> histories, Report* report) {
  std::vector<Arm> arms = plain_arms();
  if (settings.ablate)
    for (Arm& arm : ablated_arms()) arms.push_back(std::move(arm));
  for (const bool whole : {false, true}) {
    for (const int w : settings.turns) {
      for (const Arm& arm : arms) {
        RECALLD_ASSIGN_OR_RETURN(const Coverage coverage, measure_coverage(histories, arm, w, whole, settings.budgets));
        std::printf("%-5s w=%d %-26s %4d questions ", whole ? "whole" : "first", w, arm.name.c_str(),
                    coverage.n_questions);
        for (size_t b = 0; b < settings.budgets.size(); ++b) {
          std::printf(" %.3f", coverage.share[b]);
          report->add("coverage_" + arm.name + "_" + std::to_string(settings.budgets[b]) + "_" + settings.split +
                          (whole ? "_whole" : "") + (w == settings.turns.front() ? "" : "_w" + std::to_string(w)),
                      coverage.share[b], "share");
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
  return ok_status();
}

// Vectors of real turns and sentences.
std::vector<std::vector<float>> vectors_of(std::span<const History> histories) {
  std::vector<std::vector<float>> vectors;
  for (const History& history : histories) {
    for (const retrieval::SegmentTurn& turn : history.turns) {
      vectors.push_back(turn.vector);
      vectors.insert(vectors.end(), turn.sentences.begin(), turn.sentences.end());
    }
  }
  return vectors;
}

Status run(const Settings& settings, Report* report) {
  RoutingSettings routing = settings.routing;
  if (!settings.data.empty()) {
    RECALLD_ASSIGN_OR_RETURN(const std::vector<History> histories, read_histories(settings));
    RECALLD_RETURN_IF_ERROR(report_coverage(settings, histories, report));
    routing.centers = vectors_of(histories);
    routing.dim = static_cast<int32_t>(routing.centers.front().size());
  }
  return measure_routing(settings.sizes, routing, report);
}

}  // namespace
}  // namespace recalld::bench

int main(int argc, char** argv) {
  recalld::bench::Settings settings;
  if (const char* model = std::getenv("RECALLD_MODEL"); model != nullptr) settings.model = model;
  if (const char* encoder = std::getenv("RECALLD_ENCODER"); encoder != nullptr) settings.encoder = encoder;
  CLI::App app("Retrieval: coverage of the evidence within a token budget, and routing against brute force");
  app.add_option("--model", settings.model, "GGUF that tokens are counted with (default: RECALLD_MODEL)");
  app.add_option("--encoder", settings.encoder, "GGUF of the text encoder (default: RECALLD_ENCODER)");
  app.add_option("--data", settings.data, "folder of LoCoMo conversations; without it, routing alone");
  app.add_option("--tuning", settings.tuning, "conversations that settings were chosen on")->delimiter(',');
  app.add_option("--split", settings.split, "tuning, test (all others) or all")
      ->check(CLI::IsMember({"tuning", "test", "all"}));
  app.add_option("--budgets", settings.budgets, "tokens")->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--turns", settings.turns, "turns of a segment")->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--prefix", settings.prefix_tokens, "tokens of the prefix")->check(CLI::PositiveNumber);
  app.add_flag("--ablate", settings.ablate, "also ours with one idea taken out at a time");
  app.add_option("--sizes", settings.sizes, "vectors of the routing part; 0 leaves it out")->delimiter(',');
  app.add_option("--exact-limit", settings.routing.index.exact_limit, "vectors up to which search is exact");
  app.add_option("--probed", settings.routing.index.probed, "share of the groups that are searched above it");
  CLI11_PARSE(app, argc, argv);
  std::erase(settings.sizes, 0);
  recalld::bench::Report report("retrieval", settings.model.substr(settings.model.find_last_of('/') + 1));
  const recalld::Status status = recalld::bench::run(settings, &report);
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.to_string().c_str());
    return 1;
  }
  return report.finish();
}
