#include "retrieval/segment_index.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "base/clock.h"
#include "retrieval/words.h"

namespace recalld::retrieval {
namespace {

constexpr int64_t kGapMs = 3'600'000;  // TranscriptFormat writes a new date line after as much
constexpr size_t kFirstLetters = 3;    // "Mel" stands for Melanie
constexpr size_t kEpisodeTurns = 3;
constexpr int64_t kCandidates = 4096;  // looked at where an index is too large to compare with all of it
constexpr int64_t kSample = 4096;

struct Spread {
  double mean = 0, deviation = 0;
};

template <typename Numbers>
Spread spread_of(const Numbers& numbers) {
  if (std::empty(numbers)) return {};
  double sum = 0, squares = 0;
  for (const auto x : numbers) sum += x;
  const double mean = sum / static_cast<double>(std::size(numbers));
  for (const auto x : numbers) squares += (x - mean) * (x - mean);
  return {mean, std::sqrt(squares / static_cast<double>(std::size(numbers)))};
}

double z_score(double x, const Spread& spread) {
  return spread.deviation > 1e-9 ? (x - spread.mean) / spread.deviation : 0;
}

// The best cosine of each turn with the vectors it owns.
struct TurnCosines {
  std::vector<double> best;  // NaN: not known
  Spread spread;             // where not all are known
  bool complete = true;
};

Result<TurnCosines> best_cosines(const DenseIndex& index, std::span<const size_t> owner, std::span<const float> query,
                                 size_t n_turns) {
  TurnCosines cosines;
  cosines.best.assign(n_turns, std::nan(""));
  const auto take = [&](size_t id, double cosine) {
    double& best = cosines.best[owner[id]];
    if (!(best >= cosine)) best = cosine;
  };
  if (index.exact()) {
    RECALLD_ASSIGN_OR_RETURN(const std::vector<float> all, index.cosines(query));
    for (size_t id = 0; id < all.size(); ++id) take(id, all[id]);
    return cosines;
  }
  RECALLD_ASSIGN_OR_RETURN(const std::vector<float> sample, index.sample(query, kSample));
  RECALLD_ASSIGN_OR_RETURN(const std::vector<DenseMatch> found, index.search(query, kCandidates));
  for (const DenseMatch& match : found) take(static_cast<size_t>(match.id), match.cosine);
  cosines.spread = spread_of(sample);
  cosines.complete = false;
  return cosines;
}

// "8 may 2023": so that a question with a date finds the turns said on it by their words, too.
std::string date_words(int64_t ms) {
  const CivilDate date = civil_date(ms);
  return std::to_string(date.day) + " " + std::string(month_name(date.month)) + " " + std::to_string(date.year);
}

}  // namespace

struct SegmentIndex::Turn {
  size_t segment = 0;
  size_t block = 0;  // turns of one block are said without a gap in time
  std::optional<size_t> speaker;
  bool asks = false, names_time = false;
};

struct SegmentIndex::Entry {
  size_t first_turn = 0, n_turns = 0;
  std::optional<int64_t> first_ms, last_ms, episode;
  bool has_vectors = false;
};

struct SegmentIndex::Query {
  std::vector<std::string> terms;
  std::vector<double> dense, lexical;                // z-scores by turn
  std::map<size_t, std::vector<std::string>> found;  // terms by turn
  std::optional<size_t> speaker;                     // the only one named
  bool when = false;
  std::vector<TimeInterval> times;
};

std::vector<std::string> split_sentences(std::string_view text) {
  std::vector<std::string> sentences;
  const auto take = [&](std::string_view sentence) {
    const size_t first = sentence.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return;
    sentence = sentence.substr(first, sentence.find_last_not_of(" \t\r\n") + 1 - first);
    if (sentence.find_first_of(" \t\r\n") != std::string_view::npos) sentences.emplace_back(sentence);
  };
  size_t start = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool ends = text[i] == '\n' || ((text[i] == '.' || text[i] == '!' || text[i] == '?') && i + 1 < text.size() &&
                                          (text[i + 1] == ' ' || text[i + 1] == '\t'));
    // What stands in brackets is a remark of its own: "[shares a photo: ...]".
    const bool remark = i + 1 < text.size() && text[i + 1] == '[';
    if (!ends && !remark) continue;
    take(text.substr(start, i + 1 - start));
    start = i + 1;
  }
  take(text.substr(start));
  return sentences;
}

SegmentIndex::SegmentIndex(const RankingOptions& options, std::unique_ptr<storage::TextIndex> words)
    : options_(options), words_(std::move(words)) {}

SegmentIndex::~SegmentIndex() = default;

size_t SegmentIndex::size() const { return segments_.size(); }

Result<std::unique_ptr<SegmentIndex>> SegmentIndex::create(int32_t dim, const RankingOptions& options) {
  RECALLD_ASSIGN_OR_RETURN(std::unique_ptr<storage::TextIndex> words, storage::TextIndex::create(options.bm25));
  std::unique_ptr<SegmentIndex> index(new SegmentIndex(options, std::move(words)));
  if (dim != 0) {
    RECALLD_ASSIGN_OR_RETURN(index->turn_vectors_, DenseIndex::create(dim, options.search));
    RECALLD_ASSIGN_OR_RETURN(index->sentence_vectors_, DenseIndex::create(dim, options.search));
  }
  return index;
}

Status SegmentIndex::check(std::span<const SegmentTurn> turns) const {
  const auto fits = [&](const std::vector<float>& vector) {
    return has_vectors() && vector.size() == static_cast<size_t>(turn_vectors_->dim()) &&
           std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); });
  };
  for (const SegmentTurn& turn : turns)
    if ((!turn.vector.empty() && !fits(turn.vector)) ||
        !std::all_of(turn.sentences.begin(), turn.sentences.end(), fits))
      return invalid_argument("a turn's vector does not fit the index of " +
                              std::to_string(has_vectors() ? turn_vectors_->dim() : 0) +
                              " numbers; embed it with the encoder that the index was made for");
  return ok_status();
}

Status SegmentIndex::add(const Segment& segment, std::span<const SegmentTurn> turns, std::optional<int64_t> episode) {
  RECALLD_RETURN_IF_ERROR(check(turns));
  const SegmentTurn nothing;
  if (turns.empty()) turns = {&nothing, 1};
  Entry entry{turns_.size(), turns.size(), segment.first_ms, segment.last_ms, episode, false};
  size_t block = 0;
  if (!segments_.empty()) {
    const Entry& before = segments_.back();
    const bool both = before.last_ms && entry.first_ms, neither = !before.last_ms && !entry.first_ms;
    const bool goes_on =
        neither || (both && *entry.first_ms >= *before.last_ms && *entry.first_ms - *before.last_ms < kGapMs);
    block = turns_.back().block + (goes_on ? 0 : 1);
  }
  for (const SegmentTurn& given : turns) {
    Turn turn{segments_.size(), block, std::nullopt, given.text.find('?') != std::string::npos, names_time(given.text)};
    if (!given.speaker.empty()) {
      const auto known = std::find(speakers_.begin(), speakers_.end(), given.speaker);
      turn.speaker = static_cast<size_t>(known - speakers_.begin());
      if (known == speakers_.end()) speakers_.push_back(given.speaker);
    }
    std::string text = given.speaker + ": " + given.text;
    if (segment.first_ms) text += "\n" + date_words(*segment.first_ms);
    RECALLD_RETURN_IF_ERROR(words_->add(static_cast<int64_t>(turns_.size()), text));
    RECALLD_RETURN_IF_ERROR(add_vectors(turns_.size(), given));
    entry.has_vectors = entry.has_vectors || !given.vector.empty() || !given.sentences.empty();
    turns_.push_back(turn);
  }
  if (entry.first_ms && (!first_ms_ || *entry.first_ms < *first_ms_)) first_ms_ = entry.first_ms;
  if (entry.last_ms && (!last_ms_ || *entry.last_ms > *last_ms_)) last_ms_ = entry.last_ms;
  segments_.push_back(entry);
  return ok_status();
}

Status SegmentIndex::add_vectors(size_t turn, const SegmentTurn& given) {
  if (!given.vector.empty()) {
    RECALLD_RETURN_IF_ERROR(turn_vectors_->add(given.vector));
    vector_turn_.push_back(turn);
  }
  for (const std::vector<float>& sentence : given.sentences) {
    RECALLD_RETURN_IF_ERROR(sentence_vectors_->add(sentence));
    sentence_turn_.push_back(turn);
  }
  return ok_status();
}

Status SegmentIndex::set_vectors(size_t segment, std::span<const SegmentTurn> turns) {
  if (segment >= segments_.size()) return not_found("the index has no segment " + std::to_string(segment));
  Entry& entry = segments_[segment];
  if (entry.has_vectors)
    return invalid_argument("segment " + std::to_string(segment) + " has its vectors already; make a new index");
  if (turns.size() != entry.n_turns)
    return invalid_argument("vectors for " + std::to_string(turns.size()) + " turns of segment " +
                            std::to_string(segment) + ", which has " + std::to_string(entry.n_turns));
  RECALLD_RETURN_IF_ERROR(check(turns));
  for (size_t i = 0; i < turns.size(); ++i) RECALLD_RETURN_IF_ERROR(add_vectors(entry.first_turn + i, turns[i]));
  entry.has_vectors = true;
  return ok_status();
}

Status SegmentIndex::set_episode(size_t segment, std::optional<int64_t> episode) {
  if (segment >= segments_.size()) return not_found("the index has no segment " + std::to_string(segment));
  segments_[segment].episode = episode;
  return ok_status();
}

// Speakers of whose name the word is a part; failing that, the only one with a name that begins with it.
std::vector<size_t> SegmentIndex::speakers_called(const Word& word) const {
  std::vector<size_t> whole, begun;
  // "Will" may open a question without being a name.
  if (!word.capital || (word.starts_text && is_stop_word(word.lower))) return whole;
  for (size_t i = 0; i < speakers_.size(); ++i) {
    for (const Word& name : split_words(speakers_[i])) {
      if (name.lower == word.lower) {
        whole.push_back(i);
        break;
      }
      if (word.lower.size() >= kFirstLetters && name.lower.starts_with(word.lower)) begun.push_back(i);
    }
  }
  if (whole.empty() && begun.size() == 1 && !is_stop_word(word.lower)) return begun;
  return whole;
}

std::string SegmentIndex::bare_question(std::string_view text) const {
  std::string bare(text);
  for (const std::string& speaker : speakers_) {
    if (speaker.empty()) continue;
    for (size_t at = bare.find(speaker); at != std::string::npos; at = bare.find(speaker, at)) {
      const auto letter = [&](size_t i) {
        return i < bare.size() && std::isalnum(static_cast<unsigned char>(bare[i])) != 0;
      };
      size_t end = at + speaker.size();
      if (letter(end) || (at > 0 && letter(at - 1))) {
        at = end;
        continue;
      }
      if (bare.compare(end, 2, "'s") == 0) end += 2;
      if (end < bare.size() && bare[end] == ' ') ++end;
      bare.erase(at, end - at);
    }
  }
  return bare;
}

Result<std::vector<double>> SegmentIndex::dense_scores(const Question& question) const {
  std::vector<double> scores(turns_.size(), 0);
  if (!has_vectors() || question.embedding.empty() || vector_turn_.empty()) return scores;
  RECALLD_ASSIGN_OR_RETURN(const TurnCosines whole,
                           best_cosines(*turn_vectors_, vector_turn_, question.embedding, turns_.size()));
  RECALLD_ASSIGN_OR_RETURN(
      const TurnCosines parts,
      best_cosines(*sentence_vectors_, sentence_turn_,
                   question.bare_embedding.empty() ? question.embedding : question.bare_embedding, turns_.size()));
  std::vector<double> known;
  std::vector<bool> is_known(turns_.size(), false);
  for (size_t i = 0; i < turns_.size(); ++i) {
    double first = whole.best[i], second = parts.best[i];
    if (std::isnan(first) && std::isnan(second)) continue;
    // A turn without sentences is alike as a whole; what was not looked at is ordinary.
    if (std::isnan(first)) first = whole.complete ? second : whole.spread.mean;
    if (std::isnan(second)) second = parts.complete ? first : parts.spread.mean;
    scores[i] = first + second;
    is_known[i] = true;
    known.push_back(scores[i]);
  }
  Spread spread = spread_of(known);
  if (!whole.complete || !parts.complete) {
    const Spread other = parts.complete ? whole.spread : parts.spread;
    spread = {whole.spread.mean + other.mean, whole.spread.deviation + other.deviation};
  }
  for (size_t i = 0; i < turns_.size(); ++i) scores[i] = is_known[i] ? z_score(scores[i], spread) : 0;
  return scores;
}

Result<SegmentIndex::Query> SegmentIndex::read(const Question& question) {
  Query query;
  const std::vector<Word> words = split_words(question.text);
  query.when = !words.empty() && words.front().lower == "when";
  query.times = find_times(question.text, {question.asked_ms, first_ms_, last_ms_});

  std::set<std::string> seen;
  std::set<size_t> named;
  std::vector<std::string> names;
  for (const Word& word : words) {
    const std::vector<size_t> called = speakers_called(word);
    named.insert(called.begin(), called.end());
    if (!seen.insert(word.lower).second || is_stop_word(word.lower)) continue;
    (called.empty() ? query.terms : names).push_back(word.lower);
  }
  if (query.terms.empty()) query.terms = std::move(names);
  if (named.size() == 1 && speakers_.size() > 1) query.speaker = *named.begin();

  RECALLD_ASSIGN_OR_RETURN(query.dense, dense_scores(question));
  query.lexical.assign(turns_.size(), 0);
  RECALLD_ASSIGN_OR_RETURN(const std::vector<storage::TextMatch> matches, words_->search(query.terms));
  for (const storage::TextMatch& match : matches) {
    query.lexical[static_cast<size_t>(match.id)] = match.score;
    for (size_t t = 0; t < query.terms.size(); ++t)
      if (match.by_term[t] > 0) query.found[static_cast<size_t>(match.id)].push_back(query.terms[t]);
  }
  const Spread spread = spread_of(query.lexical);
  for (double& score : query.lexical) score = z_score(score, spread);
  return query;
}

std::vector<Signals> SegmentIndex::score_turns(const Query& query) const {
  const size_t n = turns_.size();
  std::vector<Signals> signals(n);
  for (size_t i = 0; i < n; ++i) {
    signals[i].dense = options_.dense * query.dense[i];
    signals[i].lexical = options_.lexical * query.lexical[i];
  }
  for (size_t i = 0; i < n; ++i) {
    Signals& here = signals[i];
    const auto near = [&](size_t j, size_t distance) {
      if (turns_[j].block != turns_[i].block) return;
      here.neighbours += options_.dense_near[distance - 1] * signals[j].dense +
                         options_.lexical_near[distance - 1] * signals[j].lexical;
    };
    for (size_t distance = 1; distance <= 2; ++distance) {
      if (i >= distance) near(i - distance, distance);
      if (i + distance < n) near(i + distance, distance);
    }
    if (i > 0 && turns_[i - 1].asks && turns_[i - 1].block == turns_[i].block)
      here.neighbours += options_.after_question * (signals[i - 1].dense + signals[i - 1].lexical);
    if (query.speaker && turns_[i].speaker == query.speaker) here.speaker = options_.speaker;
    const Entry& segment = segments_[turns_[i].segment];
    here.time = options_.time * time_fit(query.times, segment.first_ms, segment.last_ms);
    if (query.when && turns_[i].names_time) here.time += options_.when;
  }
  if (options_.episode != 0) add_episodes(&signals);
  return signals;
}

void SegmentIndex::add_episodes(std::vector<Signals>* signals) const {
  const auto sum = [](const Signals& s) { return s.dense + s.lexical + s.neighbours + s.speaker + s.time; };
  std::map<int64_t, std::vector<double>> episodes;
  for (size_t i = 0; i < turns_.size(); ++i)
    if (const auto episode = segments_[turns_[i].segment].episode) episodes[*episode].push_back(sum((*signals)[i]));
  std::map<int64_t, double> best;
  for (auto& [episode, scores] : episodes) {
    const size_t n = std::min(kEpisodeTurns, scores.size());
    std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(n), scores.end(), std::greater<>());
    double total = 0;
    for (size_t i = 0; i < n; ++i) total += scores[i];
    best[episode] = total / static_cast<double>(n);
  }
  for (size_t i = 0; i < turns_.size(); ++i)
    if (const auto episode = segments_[turns_[i].segment].episode)
      (*signals)[i].episode = options_.episode * best[*episode];
}

Result<Ranking> SegmentIndex::search(const Question& question) {
  Ranking ranking;
  const auto fits = [&](const std::vector<float>& vector) {
    return vector.empty() || !has_vectors() || vector.size() == static_cast<size_t>(turn_vectors_->dim());
  };
  if (!fits(question.embedding) || !fits(question.bare_embedding))
    return invalid_argument("the question's embedding has " + std::to_string(question.embedding.size()) +
                            " numbers and the index " + std::to_string(turn_vectors_->dim()) +
                            "; use the encoder that the index was made with");
  if (segments_.empty()) return ranking;
  RECALLD_ASSIGN_OR_RETURN(Query query, read(question));
  const std::vector<Signals> signals = score_turns(query);
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Entry& entry = segments_[s];
    RankedSegment ranked{s, 0, {}, {}, entry.episode};
    size_t best_turn = entry.first_turn;
    for (size_t t = entry.first_turn; t < entry.first_turn + entry.n_turns; ++t) {
      const Signals& turn = signals[t];
      const double score = turn.dense + turn.lexical + turn.neighbours + turn.speaker + turn.time + turn.episode;
      if (t != entry.first_turn && score <= ranked.score) continue;
      ranked.score = score;
      ranked.signals = turn;
      best_turn = t;
    }
    if (const auto found = query.found.find(best_turn); found != query.found.end()) ranked.words = found->second;
    ranking.segments.push_back(std::move(ranked));
  }
  std::stable_sort(ranking.segments.begin(), ranking.segments.end(),
                   [](const RankedSegment& a, const RankedSegment& b) { return a.score > b.score; });
  const RankedSegment& best = ranking.segments.front();
  for (size_t i = 1; i < ranking.segments.size(); ++i) {
    const RankedSegment& other = ranking.segments[i];
    if (best.episode && other.episode == best.episode) continue;
    ranking.margin = best.score - other.score;
    break;
  }
  if (query.speaker) ranking.speaker = speakers_[*query.speaker];
  ranking.times = std::move(query.times);
  return ranking;
}

}  // namespace recalld::retrieval
