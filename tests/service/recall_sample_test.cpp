// The sample conversation asked about: what is found, and what damage, another encoder and deletion do.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "daemon/import.h"
#include "tests/service/service_fixture.h"

namespace recalld::daemon {
namespace {

using ::testing::HasSubstr;

class RecallSampleTest : public ServiceTest {
 protected:
  RecallSampleTest() {
    options_.recall_tokens = 256;
    options_.recent_tokens = 48;
  }

  // The sample's first n turns: a beagle's operation, a pottery class, an interview, a bicycle.
  static std::vector<Message> sample(size_t n) {
    std::ifstream file(std::string(std::getenv("RECALLD_SOURCE_DIR")) + "/data/sample_conversation.ndjson");
    std::stringstream text;
    text << file.rdbuf();
    std::vector<Message> messages = parse_ndjson(text.str()).value();
    messages.resize(n);
    return messages;
  }
  std::string imported(const std::vector<Message>& messages) {
    const std::string session = new_session();
    EXPECT_TRUE(service_->import("local", session, messages, "d").ok());
    settle(session);
    return session;
  }
  void sql(const std::string& statement, std::string* first = nullptr) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((options_.data_dir + "/kv.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* prepared = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(database, statement.c_str(), -1, &prepared, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    while (sqlite3_step(prepared) == SQLITE_ROW)
      if (first != nullptr)
        first->assign(static_cast<const char*>(sqlite3_column_blob(prepared, 0)),
                      static_cast<size_t>(sqlite3_column_bytes(prepared, 0)));
    sqlite3_finalize(prepared);
    sqlite3_close(database);
  }
  std::string raw_files() {
    std::string all;
    for (const char* name : {"memory.db", "memory.db-wal", "kv.db", "kv.db-wal"}) {
      std::ifstream stream(options_.data_dir + "/" + name, std::ios::binary);
      all.append(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    return all;
  }
  bool logged(const std::string& part) {
    const std::lock_guard lock(log_mutex_);
    return std::ranges::any_of(log_, [&](const std::string& event) { return event.find(part) != std::string::npos; });
  }
};

bool covers(const RecallReport& report, int64_t turn) {
  return std::ranges::any_of(report.segments, [&](const RecalledSegment& segment) {
    return segment.first_turn <= turn && turn < segment.first_turn + segment.n_turns;
  });
}

// Everything about an answer that must not depend on when and how its history was read.
std::string outcome(const ChatResult& result) {
  std::ostringstream out;
  const RecallReport& report = result.recall;
  out.precision(17);
  out << result.text << "\n"
      << report.chosen_by << " margin " << report.margin << " tokens " << report.chosen_tokens << "+"
      << report.recent_tokens << " of " << report.tokens_reused << " pages " << report.pages << "\n";
  for (const RecalledSegment& s : report.segments) {
    out << s.first_turn << "+" << s.n_turns << " " << s.n_tokens << " e" << s.episode << " " << s.score << " "
        << s.dense << " " << s.lexical << " " << s.neighbours << " " << s.speaker << " " << s.time;
    for (const std::string& word : s.words) out << " " << word;
    out << "\n";
  }
  for (const RecalledEpisode& e : report.episodes) out << e.id << " " << e.title << "\n";
  return out.str();
}

std::string episodes_of(const MemoryInfo& info) {
  std::ostringstream out;
  out << info.segments << " segments, " << info.segments_pending << " pending, " << info.encoder << "\n";
  for (const EpisodeInfo& e : info.episodes)
    out << e.id << " " << e.title << " " << e.first_ms.value_or(0) << " " << e.last_ms.value_or(0) << " " << e.segments
        << " " << e.turns << " " << e.tokens << "\n";
  return out.str();
}

TEST_F(RecallSampleTest, TheSegmentsThatAQuestionNeedsAreInItsViewBeforeAndAfterARestart) {
  reopen();
  const std::string session = imported(sample(67));
  const MemoryInfo info = service_->memory("local", session).value();
  EXPECT_EQ(info.segments_pending, 0);
  EXPECT_GT(info.segments, 30);
  EXPECT_FALSE(info.episodes.empty());
  EXPECT_EQ(info.encoder, "all-MiniLM-L6-v2");
  EXPECT_EQ(info.reading, "recent");
  EXPECT_EQ(info.recall_tokens, 256);
  const std::vector<std::pair<std::string, int64_t>> questions = {{"What did Biscuit eat?", 2},
                                                                  {"How much does the pottery class cost?", 30},
                                                                  {"When was the green bike bought?", 62}};
  std::vector<std::string> before;
  for (const auto& [question, evidence] : questions) {
    const ChatResult result = ask(session, question, 10, false).value();
    const RecallReport& report = result.recall;
    EXPECT_EQ(report.chosen_by, "question");
    EXPECT_TRUE(covers(report, evidence)) << question << "\n" << outcome(result);
    EXPECT_LE(report.chosen_tokens, 256);
    EXPECT_LE(report.tokens_reused, 256 + report.recent_tokens + 64) << "pinned tokens, and the date line among them";
    EXPECT_GT(report.search_ms, 0);
    EXPECT_FALSE(report.episodes.empty());
    for (const RecalledSegment& s : report.segments) {
      EXPECT_NEAR(s.score, s.dense + s.lexical + s.neighbours + s.speaker + s.time + s.prior, 1e-9);
      EXPECT_TRUE(std::ranges::any_of(report.episodes, [&](const auto& e) { return e.id == s.episode; }));
    }
    EXPECT_TRUE(std::ranges::is_sorted(report.segments, {}, &RecalledSegment::score)) << "the best one last";
    before.push_back(outcome(result));
  }
  reopen();
  EXPECT_EQ(episodes_of(service_->memory("local", session).value()), episodes_of(info)) << "of a session at rest";
  for (size_t i = 0; i < questions.size(); ++i)
    EXPECT_EQ(outcome(ask(session, questions[i].first, 10, false).value()), before[i]);
  EXPECT_EQ(episodes_of(service_->memory("local", session).value()), episodes_of(info));
}

TEST_F(RecallSampleTest, AnotherEncoderEmbedsAnewAndKeepsThePages) {
  reopen();
  const std::string session = imported(sample(26));
  const MemoryInfo info = service_->memory("local", session).value();
  const std::string before = outcome(ask(session, "What did Biscuit eat?", 10, false).value());
  const std::string encoder = options_.encoder_path;
  options_.encoder_path.clear();
  reopen();
  EXPECT_TRUE(logged("memory.encoder"));
  const MemoryInfo own = settle(session);
  EXPECT_THAT(own.encoder, HasSubstr("own states"));
  EXPECT_EQ(own.tokens_ready, info.tokens_ready);
  EXPECT_EQ(own.pages_dropped, 0);
  EXPECT_EQ(own.segments_pending, 0);
  EXPECT_EQ(own.segments, info.segments);
  EXPECT_TRUE(logged("embedded anew"));
  EXPECT_TRUE(ask(session, "What did Biscuit eat?", 4, false).ok());
  options_.encoder_path = encoder;
  reopen();
  EXPECT_EQ(episodes_of(settle(session)), episodes_of(info));
  EXPECT_EQ(outcome(ask(session, "What did Biscuit eat?", 10, false).value()), before);
  options_.encoder_path = "/nonexistent/encoder.gguf";
  service_.reset();
  const Status missing = open_service(options_, clock_, [](LogLevel, const std::string&) {}).status();
  EXPECT_THAT(missing.message(), HasSubstr("memory.encoder"));
  EXPECT_THAT(missing.message(), HasSubstr("/nonexistent/encoder.gguf"));
}

TEST_F(RecallSampleTest, DamagedVectorsAreMadeAnewAndCostNoPage) {
  reopen();
  const std::string session = imported(sample(26));
  const std::string before = outcome(ask(session, "What did Biscuit eat?", 10, false).value());
  close();
  sql("UPDATE segments SET embedding = zeroblob(length(embedding)) WHERE idx = 4");
  reopen();
  ask(session, "What did Biscuit eat?", 1, false).value();
  const MemoryInfo info = settle(session);
  EXPECT_TRUE(logged("embedded anew"));
  EXPECT_EQ(info.pages_dropped, 0);
  EXPECT_EQ(outcome(ask(session, "What did Biscuit eat?", 10, false).value()), before);
  for (const StoreCheck& check : service_->verify().value()) EXPECT_TRUE(check.ok) << check.name;
}

TEST_F(RecallSampleTest, ADeletedSessionLeavesNoVectorBehind) {
  reopen();
  const std::string kept = imported(sample(10)), gone = imported(sample(26));
  close();
  std::string vectors, title;
  // Of a turn that the other session does not have.
  sql("SELECT embedding FROM segments WHERE session = '" + gone + "' AND idx = 15", &vectors);
  sql("SELECT title FROM episodes WHERE session = '" + gone + "' ORDER BY length(title) DESC LIMIT 1", &title);
  ASSERT_GT(vectors.size(), 3000U);
  const std::string files = raw_files();
  // A value lies in pieces of about a database page, so some of these pieces are cut in two.
  constexpr size_t kPiece = 48;
  std::vector<std::string> pieces;
  for (size_t at = 0; at + kPiece <= vectors.size(); at += 4 * kPiece) pieces.push_back(vectors.substr(at, kPiece));
  const auto found_in = [&](const std::string& where) {
    return static_cast<size_t>(std::count_if(pieces.begin(), pieces.end(), [&](const std::string& piece) {
      return where.find(piece) != std::string::npos;
    }));
  };
  EXPECT_GT(found_in(files), pieces.size() * 3 / 4);
  EXPECT_NE(files.find(title), std::string::npos);
  reopen();
  ASSERT_TRUE(service_->remove_session("local", gone).ok());
  close();
  const std::string left = raw_files();
  EXPECT_EQ(found_in(left), 0U);
  EXPECT_EQ(left.find(gone), std::string::npos);
  reopen();
  EXPECT_GT(service_->memory("local", kept).value().segments, 0);
}

TEST_F(RecallSampleTest, AShortHistoryAndABudgetOfZeroAreSeenWhole) {
  reopen();
  const std::string session = imported(sample(6));
  const RecallReport whole = ask(session, "What happened?", 2, false).value().recall;
  EXPECT_EQ(whole.chosen_by, "all");
  EXPECT_TRUE(whole.segments.empty());
  EXPECT_EQ(whole.tokens_reused, service_->memory("local", session).value().tokens_ready);
  const std::string longer = imported(sample(20));
  EXPECT_EQ(ask(longer, "What happened?", 2, false).value().recall.chosen_by, "question");
  options_.recall_tokens = 0;
  reopen();
  const RecallReport all = ask(longer, "What happened?", 2, false).value().recall;
  EXPECT_EQ(all.chosen_by, "all");
  EXPECT_EQ(all.tokens_reused, service_->memory("local", longer).value().tokens_ready);
}

}  // namespace
}  // namespace recalld::daemon
