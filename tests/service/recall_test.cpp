#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/service/service_fixture.h"

namespace recalld::daemon {
namespace {

constexpr const char* kQuestion = "What colour is the door at number 41 painted?";
constexpr int64_t kSecretTurn = 3;  // of talk()

class RecallTest : public ServiceTest {
 protected:
  RecallTest() { options_.recall_tokens = 200; }

  // A session with these turns, read and embedded.
  std::string session_of(const std::vector<Message>& turns) {
    std::string session = new_session();
    EXPECT_TRUE(service_->import("local", session, turns, "digest").ok());
    settled(session);
    return session;
  }
  MemoryInfo settled(const std::string& session) {
    const MemoryInfo info = settle(session);
    EXPECT_EQ(info.segments_pending, 0);
    return info;
  }
  ChatResult answer(const std::string& session) { return ask(session, kQuestion, 12, false).value(); }
};

bool recalls(const RecallReport& report, int64_t turn) {
  return std::any_of(report.segments.begin(), report.segments.end(), [&](const RecalledSegment& segment) {
    return segment.first_turn <= turn && turn < segment.first_turn + segment.n_turns;
  });
}

void expect_same(const RecallReport& a, const RecallReport& b) {
  ASSERT_EQ(a.segments.size(), b.segments.size());
  for (size_t i = 0; i < a.segments.size(); ++i) {
    EXPECT_EQ(a.segments[i].first_turn, b.segments[i].first_turn);
    EXPECT_EQ(a.segments[i].n_turns, b.segments[i].n_turns);
    EXPECT_EQ(a.segments[i].episode, b.segments[i].episode);
    EXPECT_EQ(a.segments[i].score, b.segments[i].score);
  }
  ASSERT_EQ(a.episodes.size(), b.episodes.size());
  for (size_t i = 0; i < a.episodes.size(); ++i) EXPECT_EQ(a.episodes[i].title, b.episodes[i].title);
  EXPECT_EQ(a.chosen_tokens, b.chosen_tokens);
  EXPECT_EQ(a.tokens_reused, b.tokens_reused);
}

TEST_F(RecallTest, AQuestionIsAnsweredFromTheSegmentsThatBearOnIt) {
  reopen();
  const std::string session = session_of(talk(60));
  const MemoryInfo info = settled(session);
  EXPECT_GT(info.segments, 20);
  EXPECT_FALSE(info.episodes.empty());
  int64_t segments = 0, tokens = 0;
  for (const EpisodeInfo& episode : info.episodes) {
    segments += episode.segments;
    tokens += episode.tokens;
  }
  EXPECT_EQ(segments, info.segments);
  EXPECT_LE(tokens, info.tokens_ready);

  const RecallReport recall = answer(session).recall;
  EXPECT_EQ(recall.chosen_by, "question");
  EXPECT_TRUE(recalls(recall, kSecretTurn));
  EXPECT_LE(recall.chosen_tokens, 200);
  EXPECT_FALSE(recall.episodes.empty());
  // The pinned tokens, the recalled ones with their date lines, and the newest with the segment that may still grow.
  EXPECT_LE(recall.tokens_reused, 32 + 200 + recall.recent_tokens);
  EXPECT_LT(recall.tokens_reused, info.tokens_ready / 2);
  EXPECT_LT(recall.tokens_read, 60);
}

TEST_F(RecallTest, AShortHistoryIsSeenWhole) {
  reopen();
  const std::string session = session_of(talk(8));
  const RecallReport recall = answer(session).recall;
  EXPECT_EQ(recall.chosen_by, "all");
  EXPECT_TRUE(recall.segments.empty());
  EXPECT_EQ(recall.tokens_reused, settled(session).tokens_ready);
}

TEST_F(RecallTest, ARestartChangesNothing) {
  reopen();
  const std::string session = session_of(talk(60));
  const ChatResult before = answer(session);
  reopen();
  const MemoryInfo stored = service_->memory("local", session).value();
  EXPECT_FALSE(stored.episodes.empty()) << "told before the session is opened";
  const ChatResult after = answer(session);
  EXPECT_EQ(after.text, before.text);
  expect_same(after.recall, before.recall);
}

TEST_F(RecallTest, TurnByTurnWithRestartsIsAsAtOnce) {
  const std::vector<Message> turns = talk(48);
  reopen();
  const std::string at_once = session_of(turns);
  const std::string grown = new_session();
  for (size_t i = 0; i < turns.size(); ++i) {
    ASSERT_TRUE(service_->append("local", grown, {&turns[i], 1}).ok());
    if (i % 6 == 5) settled(grown);
    if (i % 16 == 15) reopen();
  }
  const MemoryInfo a = settled(at_once), b = settled(grown);
  EXPECT_EQ(a.tokens_ready, b.tokens_ready);
  EXPECT_EQ(a.segments, b.segments);
  ASSERT_EQ(a.episodes.size(), b.episodes.size());
  for (size_t i = 0; i < a.episodes.size(); ++i) {
    EXPECT_EQ(a.episodes[i].segments, b.episodes[i].segments);
    EXPECT_EQ(a.episodes[i].title, b.episodes[i].title);
  }
  const ChatResult x = answer(at_once), y = answer(grown);
  expect_same(x.recall, y.recall);
  EXPECT_EQ(x.text, y.text);
}

TEST_F(RecallTest, AnotherEncoderEmbedsAnewAndKeepsThePages) {
  reopen();
  const std::string session = session_of(talk(40));
  const MemoryInfo before = settled(session);
  options_.encoder_path.clear();
  reopen();
  const MemoryInfo own = settled(session);
  EXPECT_NE(own.encoder, before.encoder);
  EXPECT_EQ(own.pages_dropped, 0);
  EXPECT_EQ(own.tokens_ready, before.tokens_ready);
  EXPECT_EQ(own.segments, before.segments);
  EXPECT_TRUE(recalls(answer(session).recall, kSecretTurn)) << "its words find it whatever the vectors";
}

TEST_F(RecallTest, OddTranscriptsAreRemembered) {
  reopen();
  EXPECT_TRUE(ask(session_of(talk(1)), "What happened?", 4, false).ok());

  std::vector<Message> undated = talk(30), backwards = talk(30), silent = talk(30), alone = talk(30);
  for (Message& message : undated) message.time_ms.reset();
  std::reverse(backwards.begin(), backwards.end());
  for (size_t i = 10; i < 20; ++i) silent[i].text = " ";
  for (Message& message : alone) message.speaker = "Ann";
  for (const auto& turns : {undated, backwards, silent, alone}) {
    const std::string session = session_of(turns);
    const ChatResult result = answer(session);
    EXPECT_EQ(result.recall.chosen_by, "question");
    const auto secret = std::find_if(turns.begin(), turns.end(), [](const Message& message) {
      return message.text.find("number 41") != std::string::npos;
    });
    EXPECT_TRUE(recalls(result.recall, secret - turns.begin()));
  }
}

TEST_F(RecallTest, AnotherLanguageIsFoundByItsWords) {
  std::vector<Message> turns = talk(30);
  for (size_t i = 0; i < turns.size(); ++i)
    turns[i].text = "Сегодня мы говорили о погоде и о прогулке номер " + std::to_string(i) + ".";
  turns[7].text = "Дверь старого дома покрашена в бирюзовый цвет.";
  reopen();
  const std::string session = session_of(turns);
  const RecallReport recall = ask(session, "В какой цвет покрашена дверь старого дома?", 4, false).value().recall;
  EXPECT_EQ(recall.chosen_by, "question");
  EXPECT_TRUE(recalls(recall, 7));
}

TEST_F(RecallTest, ALongTurnIsCutAndFound) {
  std::vector<Message> turns = talk(6);
  for (int i = 0; i < 300; ++i) turns[1].text += " Item " + std::to_string(i) + " is a plain grey stone.";
  turns[1].text += " The last item is a turquoise kettle.";
  options_.recall_tokens = 600;
  reopen();
  const std::string session = session_of(turns);
  const RecallReport recall = ask(session, "What is turquoise, the kettle?", 4, false).value().recall;
  EXPECT_EQ(recall.chosen_by, "question");
  EXPECT_TRUE(recalls(recall, 1));
  EXPECT_LE(recall.chosen_tokens, 600);
}

TEST_F(RecallTest, ADeletedSessionLeavesNoTitleOrVector) {
  reopen();
  std::vector<Message> turns = talk(40);
  for (size_t i = 0; i < turns.size(); i += 2) turns[i].text += " The heliotrope zeppelin passed.";
  const std::string kept = session_of(talk(20)), gone = session_of(turns);
  ASSERT_TRUE(service_->remove_session("local", gone).ok());
  close();
  for (const std::string file : {"memory.db", "memory.db-wal", "kv.db", "kv.db-wal"}) {
    std::ifstream stream(options_.data_dir + "/" + file, std::ios::binary);
    const std::string raw{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    EXPECT_EQ(raw.find("heliotrope"), std::string::npos) << file;
    EXPECT_EQ(raw.find("zeppelin"), std::string::npos) << file;
    EXPECT_EQ(raw.find(gone), std::string::npos) << file;
  }
  reopen();
  EXPECT_EQ(settled(kept).turns, 20);
}

}  // namespace
}  // namespace recalld::daemon
