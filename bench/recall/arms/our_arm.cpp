#include "bench/recall/arms/our_arm.h"

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "bench/recall/arms/text_arms.h"
#include "episodes/calibration/calibrate.h"
#include "episodes/near_pages.h"
#include "episodes/trunk.h"
#include "quant/archive.h"
#include "quant/calibration.h"

namespace recalld::bench {
namespace {

double seconds_since(int64_t started_ns) {
  return static_cast<double>(SystemClock().monotonic_ns() - started_ns) / 1e9;
}

std::string choice_key(const ChoiceOptions& options) {
  return "turns=" + std::to_string(options.segments.turns) + " pinned=" + std::to_string(options.pinned_tokens) +
         " recent=" + std::to_string(options.recent_tokens) +
         " order=" + std::string(retrieval::view_order_name(options.order));
}

episodes::NearPages near_of(const OurOptions& options, const std::string& codec) {
  return episodes::near_pages(codec, options.near_codec, options.near, options.choice.recent_tokens);
}

// What segments to read is independent of how: arms share it.
Result<std::shared_ptr<SegmentChoice>> shared_choice(const ArmContext& context, const OurOptions& options) {
  return context.shared<SegmentChoice>("choice " + choice_key(options.choice), [&] {
    return SegmentChoice::build(*context.history, options.encoder, options.choice);
  });
}

// Page groups of the whole history, in trunk order.
class Memory {
 public:
  std::vector<retrieval::PageGroup> groups;
  int32_t near_tokens = 0;
  double seconds = 0;

  // As they lie in kv.db, each in a row of its own.
  Result<size_t> bytes_at_rest() const {
    size_t sum = 0;
    for (const retrieval::PageGroup& group : groups) {
      RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> packed, cache::pack_chunk(*group.chunk));
      sum += packed.size() + kRowBytes;
    }
    return sum;
  }

 private:
  // Of a chunk's row: its pad, half an overflow page, and its entry in the list of chunks (docs/storage.md).
  static constexpr size_t kRowBytes = 1670;
};

Result<cache::CodecPlan> plan_of(const ArmContext& context, const OurOptions& options, const std::string& codec) {
  const runtime::Model& model = context.engine->model();
  std::shared_ptr<const quant::Calibration> calibration;
  if (quant::needs_calibration(codec)) {
    const std::string path = quant::calibration_file(options.calibrations, model.fingerprint());
    RECALLD_ASSIGN_OR_RETURN(calibration, episodes::load_calibration(path, model));
  }
  RECALLD_ASSIGN_OR_RETURN(auto codecs,
                           quant::make_codecs(codec, model.cache_shape().layers.size(), calibration.get()));
  return cache::CodecPlan{.layers = std::move(codecs), .archive = codec == options.codec ? options.archive : ""};
}

Result<episodes::TrunkOptions> trunk_options(const ArmContext& context, const OurOptions& options,
                                             const std::string& codec) {
  const runtime::Model& model = context.engine->model();
  episodes::TrunkOptions trunk{.segments = options.choice.segments,
                               .reading = options.reading,
                               .block_tokens = options.block,
                               .pinned_tokens = options.choice.pinned_tokens};
  trunk.recent_tokens = options.choice.recent_tokens;
  trunk.window_tokens = context.engine->context();
  trunk.view_tokens = std::min(options.reading_view, trunk.window_tokens - episodes::longest_block(trunk));
  RECALLD_ASSIGN_OR_RETURN(trunk.plan, plan_of(context, options, codec));
  RECALLD_RETURN_IF_ERROR(episodes::set_near_pages(near_of(options, codec), &trunk));
  RECALLD_RETURN_IF_ERROR(episodes::check_trunk_options(trunk));
  trunk.fingerprint = episodes::trunk_fingerprint(model.fingerprint(), "plain", trunk);
  return trunk;
}

Result<std::shared_ptr<Memory>> read_history(const ArmContext& context, const OurOptions& options,
                                             const std::string& codec, const std::shared_ptr<SegmentChoice>& choice) {
  const int64_t started = SystemClock().monotonic_ns();
  RECALLD_ASSIGN_OR_RETURN(const episodes::TrunkOptions wanted, trunk_options(context, options, codec));
  episodes::Trunk trunk(context.engine->model().cache_shape(), context.pool, wanted);
  trunk.set_ranker([&](const episodes::BlockStart& block) -> Result<std::vector<int32_t>> {
    const retrieval::Segment& next = choice->segments()[trunk.segmenter().segment_at(block.token)];
    return choice->related(next.first_turn, block.n_segments);
  });
  RECALLD_RETURN_IF_ERROR(episodes::read_turns(trunk, *context.engine, trunk_turns(*context.history)));
  auto memory = std::make_shared<Memory>();
  memory->groups = trunk.groups();
  memory->near_tokens = wanted.near_tokens;
  RECALLD_ASSIGN_OR_RETURN(const std::vector<retrieval::PageGroup> tail, trunk.tail());
  memory->groups.insert(memory->groups.end(), tail.begin(), tail.end());
  memory->seconds = seconds_since(started);
  return memory;
}

// Pages of the reading codec, coded by the other one; pinned and young ones stay.
Status code_pages(const ArmContext& context, const OurOptions& options, Memory* memory) {
  const cache::CacheShape& shape = context.engine->model().cache_shape();
  RECALLD_ASSIGN_OR_RETURN(const cache::CodecPlan plan, plan_of(context, options, options.codec));
  const auto end = static_cast<int64_t>(context.history->tokens.size());
  for (retrieval::PageGroup& group : memory->groups) {
    if (group.pinned || group.token_start + group.n_tokens > end - memory->near_tokens) continue;
    if (group.chunk->pages.front()->codec().tag() == plan.layers.front()->tag()) continue;
    RECALLD_ASSIGN_OR_RETURN(group.chunk, cache::recode_chunk(shape, *group.chunk, plan, *context.pool));
  }
  return ok_status();
}

class OurArm final : public Arm {
 public:
  OurArm(int budget, OurOptions options)
      : name_(options.label.empty() ? "ours" : "ours_" + options.label), budget_(budget), options_(std::move(options)) {
    if (options_.reading_codec.empty()) options_.reading_codec = options_.codec;
  }
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override {
    return "4 " + choice_key(options_.choice) + " " + reading_key() + " codec=" + options_.codec +
           (options_.archive.empty() ? "" : " " + options_.archive);
  }

  Result<BuildCost> build(const ArmContext& context) override {
    n_layers_ = context.engine->model().cache_shape().layers.size();
    RECALLD_ASSIGN_OR_RETURN(choice_, shared_choice(context, options_));
    const std::string key = "trunk " + choice_key(options_.choice) + " " + reading_key();
    RECALLD_ASSIGN_OR_RETURN(const auto read, context.shared<Memory>(key, [&] {
      return read_history(context, options_, options_.reading_codec, choice_);
    }));
    RECALLD_ASSIGN_OR_RETURN(
        memory_, context.shared<Memory>(key + " " + options_.codec, [&]() -> Result<std::shared_ptr<Memory>> {
          auto coded = std::make_shared<Memory>(*read);
          RECALLD_RETURN_IF_ERROR(code_pages(context, options_, coded.get()));
          return coded;
        }));
    RECALLD_ASSIGN_OR_RETURN(const size_t at_rest, memory_->bytes_at_rest());
    return BuildCost{static_cast<int64_t>(context.history->tokens.size()), at_rest + choice_->vectors_held(),
                     memory_->seconds};
  }

  Result<Composed> compose(const Asked& asked) override {
    RECALLD_ASSIGN_OR_RETURN(const std::vector<TokenRange> ranges, choice_->choose(asked, budget_));
    std::vector<size_t> groups;
    for (const TokenRange& range : ranges)
      for (size_t i = first_group(range.first); i < memory_->groups.size(); ++i) {
        if (memory_->groups[i].token_start >= range.end()) break;
        groups.push_back(i);
      }
    Composed composed;
    composed.view = retrieval::compose(memory_->groups, groups, n_layers_);
    return composed;
  }

 private:
  std::string reading_key() const {
    const episodes::NearPages near = near_of(options_, options_.reading_codec);
    return "reading=" + std::string(episodes::reading_policy_name(options_.reading)) +
           " view=" + std::to_string(options_.reading_view) + " block=" + std::to_string(options_.block) +
           " read=" + options_.reading_codec + " near=" + std::to_string(near.tokens) + " " + near.codec +
           (options_.archive.empty() ? "" : " " + options_.archive);
  }

  size_t first_group(int64_t token) const {
    const auto& groups = memory_->groups;
    const auto at = std::lower_bound(groups.begin(), groups.end(), token,
                                     [](const retrieval::PageGroup& g, int64_t t) { return g.token_start < t; });
    return static_cast<size_t>(at - groups.begin());
  }

  std::string name_;
  int budget_;
  OurOptions options_;
  size_t n_layers_ = 0;
  std::shared_ptr<SegmentChoice> choice_;
  std::shared_ptr<Memory> memory_;
};

class TextRag final : public Arm {
 public:
  TextRag(int budget, OurOptions options) : budget_(budget), options_(std::move(options)) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override { return "3 " + choice_key(options_.choice); }

  Result<BuildCost> build(const ArmContext& context) override {
    history_ = context.history;
    RECALLD_ASSIGN_OR_RETURN(choice_, shared_choice(context, options_));
    return BuildCost{0, choice_->vectors_held() + choice_->text_held(), 0};
  }

  Result<Composed> compose(const Asked& asked) override {
    RECALLD_ASSIGN_OR_RETURN(const std::vector<TokenRange> ranges, choice_->choose(asked, budget_));
    Composed composed;
    for (const TokenRange& range : ranges) {
      const auto first = history_->tokens.begin() + range.first;
      composed.text.insert(composed.text.end(), first, first + range.n);
      composed.text_of.push_back(range);
    }
    return composed;
  }

 private:
  std::string name_ = "text_rag";
  int budget_;
  OurOptions options_;
  const History* history_ = nullptr;
  std::shared_ptr<SegmentChoice> choice_;
};

Status set_number(const std::string& value, int32_t* number) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *number);
  return error == std::errc() && end == value.data() + value.size() ? ok_status()
                                                                    : invalid_argument("'" + value + "' is no number");
}

Status set_value(const std::string& key, const std::string& value, OurOptions* options) {
  if (key == "view") return set_number(value, &options->reading_view);
  if (key == "near") return set_number(value, &options->near);
  if (key == "near_codec") return options->near_codec = value, quant::check_codec_name(value);
  if (key == "block") return set_number(value, &options->block);
  if (key == "turns") return set_number(value, &options->choice.segments.turns);
  if (key == "pinned") return set_number(value, &options->choice.pinned_tokens);
  if (key == "recent") return set_number(value, &options->choice.recent_tokens);
  if (key == "codec") return options->codec = value, quant::check_codec_name(value);
  if (key == "read") return options->reading_codec = value, quant::check_codec_name(value);
  if (key == "rest") {
    options->archive = value == "exact" ? "" : value;
    return value == "exact" ? ok_status() : quant::archive_options(value).status();
  }
  if (key == "reading") {
    const auto policy = episodes::parse_reading_policy(value);
    if (!policy.has_value()) return invalid_argument("no reading policy '" + value + "'");
    return options->reading = *policy, ok_status();
  }
  if (key == "order") {
    const auto order = retrieval::parse_view_order(value);
    if (!order.has_value()) return invalid_argument("no order '" + value + "'");
    return options->choice.order = *order, ok_status();
  }
  return invalid_argument(
      "no key '" + key +
      "'; there are reading, view, block, near, near_codec, codec, rest, read, turns, pinned, recent, order");
}

}  // namespace

Result<OurOptions> parse_our_options(const std::string& text) {
  OurOptions options;
  const size_t colon = text.find(':');
  options.label = text.substr(0, colon);
  for (size_t at = colon == std::string::npos ? text.size() : colon + 1; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string pair = text.substr(at, end - at);
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string value = equals < pair.size() ? pair.substr(equals + 1) : "";
    const Status status = set_value(pair.substr(0, equals), value, &options);
    if (!status.ok()) return status.with_context("--ours '" + text + "'");
    at = end + 1;
  }
  return options;
}

std::unique_ptr<Arm> make_our_arm(int budget, const OurOptions& options) {
  return std::make_unique<OurArm>(budget, options);
}

std::unique_ptr<Arm> make_text_rag(int budget, const OurOptions& options) {
  return std::make_unique<TextRag>(budget, options);
}

}  // namespace recalld::bench
