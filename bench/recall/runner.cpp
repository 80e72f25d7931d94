#include "bench/recall/runner.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <map>

#include "base/clock.h"
#include "bench/recall/arms/registry.h"
#include "bench/recall/evaluate.h"
#include "bench/recall/metrics/f1.h"
#include "bench/recall/metrics/survival.h"
#include "bench/recall/progress.h"
#include "bench/recall/record_store.h"
#include "bench/recall/reference_store.h"

namespace recalld::bench {
namespace {

// What of the code of the harness itself the records depend on.
constexpr const char* kHarnessVersion = "1";

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// One arm on one conversation.
struct Job {
  std::unique_ptr<Arm> arm;  // null when the conversation is done
  std::string name;
  int budget = 0;
  std::string key;
  std::vector<size_t> pending;  // indices of history.questions
  bool needs_build = false;
  bool built = false;
  bool left_out = false;
};

class Run {
 public:
  Run(const Options& options, std::shared_ptr<const runtime::Model> model)
      : options_(options),
        model_(std::move(model)),
        tokenizer_(std::make_shared<runtime::Tokenizer>(model_)),
        pool_(cache::MemoryPool::create(0)),
        run_id_(clock_.now_ms()) {}

  Status open() {
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    if (error) return internal_error("cannot make the folder '" + options_.out + "': " + error.message());
    RECALLD_ASSIGN_OR_RETURN(records_, open_records());
    RECALLD_ASSIGN_OR_RETURN(references_, open_references());
    RECALLD_ASSIGN_OR_RETURN(engine_, runtime::Engine::create(model_, {.threads = options_.threads}));
    evaluator_ = std::make_unique<Evaluator>(*engine_, tokenizer_, pool_);
    return ok_status();
  }

  // Finds out what there is to do. Called for all conversations before measure().
  Status plan(const Conversation& conversation) {
    const HistoryOptions wanted{
        .max_tokens = options_.whole ? 0 : options_.prefix, .categories = options_.categories, .limit = options_.limit};
    RECALLD_ASSIGN_OR_RETURN(History history, make_history(conversation, tokenizer_, wanted));
    RECALLD_ASSIGN_OR_RETURN(auto arms, make_arms(options_.arms, arm_options(options_)));
    Work work{.history = std::move(history)};
    for (auto& arm : arms) work.jobs.push_back(plan_job(work.history, std::move(arm)));
    works_.push_back(std::move(work));
    return ok_status();
  }

  int64_t steps() const {
    int64_t sum = 0;
    for (const Work& work : works_)
      for (const Job& job : work.jobs) sum += static_cast<int64_t>(job.pending.size());
    return sum;
  }

  void print_plan() const {
    for (const Work& work : works_) {
      int64_t to_do = 0;
      for (const Job& job : work.jobs) to_do += static_cast<int64_t>(job.pending.size());
      std::printf("%-10s %zu turns, %zu tokens, %zu segments, %zu questions; %lld of %zu evaluations to do\n",
                  work.history.id.c_str(), work.history.turns.size(), work.history.tokens.size(),
                  work.history.segments.size(), work.history.questions.size(), static_cast<long long>(to_do),
                  work.jobs.size() * work.history.questions.size());
    }
  }

  Status measure(Progress& progress) {
    for (Work& work : works_) RECALLD_RETURN_IF_ERROR(measure(work, progress));
    return ok_status();
  }

  ModelResults results() const {
    ModelResults results{.label = model_label(std::filesystem::path(model_->info().path).filename().string()),
                         .file = std::filesystem::path(model_->info().path).filename().string(),
                         .f16_bytes_per_token = evaluator_->row_bytes(),
                         .left_out = left_out_};
    for (size_t i = 0; i < works_.size(); ++i) {
      results.conversations.push_back(works_[i].history.id);
      for (size_t j = 0; j < works_[i].jobs.size(); ++j) {
        const Job& job = works_[i].jobs[j];
        if (i == 0) results.arms.push_back({.name = job.name, .budget = job.budget});
        if (const BuildRecord* build = records_->build(job.key); build != nullptr)
          results.arms[j].builds.push_back(*build);
        for (const Asked& asked : works_[i].history.questions)
          if (const QuestionRecord* record = records_->question(job.key, asked.question.index); record != nullptr)
            results.arms[j].questions.push_back({static_cast<int>(i), *record});
      }
    }
    return results;
  }

 private:
  struct Work {
    History history;
    std::vector<Job> jobs;
    std::unique_ptr<FullPass> pass;
    std::map<std::string, std::shared_ptr<void>> parts;
  };

  Result<std::unique_ptr<RecordStore>> open_records() const {
    RECALLD_ASSIGN_OR_RETURN(RecordStore store, RecordStore::open(options_.out + "/records.ndjson"));
    return std::make_unique<RecordStore>(std::move(store));
  }

  Result<std::unique_ptr<ReferenceStore>> open_references() const {
    RECALLD_ASSIGN_OR_RETURN(ReferenceStore store, ReferenceStore::open(options_.out + "/references.bin"));
    return std::make_unique<ReferenceStore>(std::move(store));
  }

  std::string key_of(const History& history, const Arm& arm) const {
    return model_->fingerprint().hex() + "|" + history.id + "|" + history.digest.hex() + "|" + arm.name() + "|" +
           std::to_string(arm.budget()) + "|" + arm.settings() + "|" + kHarnessVersion;
  }

  Job plan_job(const History& history, std::unique_ptr<Arm> arm) const {
    Job job{.arm = std::move(arm)};
    job.name = job.arm->name();
    job.budget = job.arm->budget();
    job.key = key_of(history, *job.arm);
    const bool redo = contains(options_.redo, job.name);
    job.needs_build = redo || records_->build(job.key) == nullptr;
    for (size_t i = 0; i < history.questions.size(); ++i) {
      const int index = history.questions[i].question.index;
      const QuestionRecord* record = records_->question(job.key, index);
      const bool complete = record != nullptr && (!options_.answers || record->answer.has_value()) &&
                            (job.name != "full" || references_->find(job.key, index) != nullptr);
      if (redo || !complete) job.pending.push_back(i);
    }
    return job;
  }

  Status build(Work& work, Job& job, Progress& progress) {
    progress.say(work.history.id + ": building " + job.name);
    ArmContext context{.history = &work.history, .engine = engine_.get(), .tokenizer = tokenizer_, .pool = pool_};
    context.full_pass = [&] { return full_pass(work); };
    context.parts = &work.parts;
    const Result<BuildCost> cost = job.arm->build(context);
    if (!cost.ok()) {
      if (cost.status().code() != StatusCode::kTooLarge)
        return cost.status().with_context(job.name + " on " + work.history.id);
      job.left_out = true;
      left_out_.push_back(job.name + " on " + work.history.id + ": " + cost.status().message());
      return ok_status();
    }
    job.built = true;
    return records_->add(BuildRecord{.key = job.key,
                                     .history_tokens = static_cast<int64_t>(work.history.tokens.size()),
                                     .tokens_read = cost->tokens_read,
                                     .bytes_held = static_cast<int64_t>(cost->bytes_held),
                                     .seconds = cost->seconds,
                                     .run = run_id_});
  }

  Result<const FullPass*> full_pass(Work& work) {
    if (work.pass == nullptr) {
      RECALLD_ASSIGN_OR_RETURN(FullPass pass, FullPass::read(work.history, *engine_, pool_));
      work.pass = std::make_unique<FullPass>(std::move(pass));
    }
    return work.pass.get();
  }

  // Question by question, all arms in turn: what is measured of time is measured side by side.
  Status measure(Work& work, Progress& progress) {
    for (Job& job : work.jobs)
      if (job.needs_build || !job.pending.empty()) RECALLD_RETURN_IF_ERROR(build(work, job, progress));
    progress.say(work.history.id);
    for (size_t i = 0; i < work.history.questions.size(); ++i)
      for (Job& job : work.jobs) {
        if (!std::binary_search(job.pending.begin(), job.pending.end(), i)) continue;
        if (!job.left_out) RECALLD_RETURN_IF_ERROR(ask(work, job, work.history.questions[i]));
        progress.step();
      }
    // Pages of a conversation that is done need not stay in memory.
    for (Job& job : work.jobs) job.arm.reset();
    work.parts.clear();
    work.pass.reset();
    return ok_status();
  }

  Status ask(const Work& work, Job& job, const Asked& asked) {
    const bool is_full = job.name == "full";
    const int64_t started = clock_.monotonic_ns();
    RECALLD_ASSIGN_OR_RETURN(const Composed composed, job.arm->compose(asked));
    const double compose_ms = static_cast<double>(clock_.monotonic_ns() - started) / 1e6;
    const int index = asked.question.index;
    const EvaluateOptions how{.against = is_full ? nullptr : references_->find(full_key(work), index),
                              .keep_reference = is_full,
                              .answer_tokens = options_.answers ? options_.answer_tokens : 0};
    Result<Evaluation> evaluation = evaluator_->evaluate(composed, asked, how);
    if (!evaluation.ok()) return evaluation.status().with_context(job.name + " on " + work.history.id);
    if (is_full) RECALLD_RETURN_IF_ERROR(references_->add(job.key, index, std::move(evaluation->reference)));
    QuestionRecord record = describe(work.history, composed, asked);
    record.key = job.key;
    record.nll = evaluation->nll;
    record.kl = evaluation->kl;
    record.first_token_ms = compose_ms + evaluation->read_ms;
    if (options_.answers) {
      record.answer = evaluation->answer;
      record.f1_locomo = locomo_f1(evaluation->answer, asked.question.gold, asked.question.category);
      record.f1_epicache = epicache_f1(evaluation->answer, asked.question.gold);
    }
    return records_->add(record);
  }

  static std::string full_key(const Work& work) {
    for (const Job& job : work.jobs)
      if (job.name == "full") return job.key;
    return {};
  }

  QuestionRecord describe(const History& history, const Composed& composed, const Asked& asked) const {
    const std::vector<TokenRange> evidence = history.words_of(asked.question.evidence);
    const double in_text = share_in_ranges(composed.text_of, evidence);
    const double in_pages = composed.survival.value_or(share_in_view(composed.view, evidence));
    const double chosen =
        composed.chosen.has_value() ? share_in_ranges(*composed.chosen, evidence) : std::max(in_pages, in_text);
    const size_t rows = composed.text.size() * evaluator_->row_bytes();
    return {.question = asked.question.index,
            .category = asked.question.category,
            .survival = std::max(in_pages, in_text),
            .covered = chosen >= 1 - 1e-9,
            .view_tokens = mean_tokens(composed.view),
            .text_tokens = static_cast<int64_t>(composed.text.size()),
            .bytes_touched = static_cast<int64_t>(composed.view.bytes() + rows),
            .run = run_id_};
  }

  const Options& options_;
  std::shared_ptr<const runtime::Model> model_;
  std::shared_ptr<const runtime::Tokenizer> tokenizer_;
  std::shared_ptr<cache::MemoryPool> pool_;
  SystemClock clock_;
  int64_t run_id_;
  std::unique_ptr<runtime::Engine> engine_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<RecordStore> records_;
  std::unique_ptr<ReferenceStore> references_;
  std::vector<Work> works_;
  std::vector<std::string> left_out_;
};

}  // namespace

std::string model_label(const std::string& file) {
  std::string letters;
  for (const char c : std::filesystem::path(file).stem().string())
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* family : {"smollm2", "gemma3"})
    if (letters.find(family) != std::string::npos) return family;
  return letters.empty() ? "model" : letters;
}

Result<ModelResults> measure(const Options& options, const std::vector<Conversation>& conversations, size_t model) {
  RECALLD_ASSIGN_OR_RETURN(auto loaded, runtime::Model::load({.path = options.models[model], .file = {}}));
  Run run(options, std::move(loaded));
  RECALLD_RETURN_IF_ERROR(run.open());
  for (const Conversation& conversation : conversations) RECALLD_RETURN_IF_ERROR(run.plan(conversation));
  if (options.plan) {
    run.print_plan();
    return run.results();
  }
  {
    const SystemClock clock;
    Progress progress(clock, run.steps());
    RECALLD_RETURN_IF_ERROR(run.measure(progress));
  }
  return run.results();
}

}  // namespace recalld::bench
