#include <thread>

#include "tests/service/service_fixture.h"

namespace recalld::daemon {
namespace {

using ChatTest = ServiceTest;

ChatRequest stateless(const std::string& text, int max_tokens) {
  ChatRequest request;
  request.principal = "local";
  request.messages.push_back({"user", "", text, std::nullopt});
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  return request;
}

TEST_F(ChatTest, StatelessAnswersAreRepeatableAndCounted) {
  reopen();
  std::vector<std::string> texts;
  for (int i = 0; i < 2; ++i) {
    const auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(service_->chat(stateless("What is the capital of France?", 16), sink).ok());
    const ChatResult result = sink->wait().value();
    texts.push_back(result.text);
    EXPECT_EQ(result.recall.tokens_reused, 0);
    EXPECT_GT(result.recall.tokens_read, 5);
    EXPECT_GT(result.completion_tokens, 0);
    EXPECT_LE(result.completion_tokens, 16);
    EXPECT_EQ(result.user_turn, -1);
    EXPECT_EQ(sink->starts(), 1);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_NE(texts[0].find("Paris"), std::string::npos) << texts[0];
  EXPECT_TRUE(service_->sessions("local").value().empty());
}

TEST_F(ChatTest, APromptLongerThanTheWindowIsRefusedBeforeAnythingIsStored) {
  reopen();
  std::string longer;
  for (int i = 0; i < 3000; ++i) longer += "word ";
  const auto sink = std::make_shared<Collector>();
  const Status status = service_->chat(stateless(longer, 4), sink);
  EXPECT_EQ(status.code(), StatusCode::kTooLarge);
  EXPECT_NE(status.message().find("2048"), std::string::npos) << status.message();
  EXPECT_FALSE(sink->over());
  const std::string session = new_session("template");
  EXPECT_EQ(ask(session, longer).status().code(), StatusCode::kTooLarge);
  EXPECT_EQ(service_->session("local", session).value().turns, 0);
}

TEST_F(ChatTest, OptionsOutOfRangeAreNamed) {
  reopen();
  ChatRequest hot = stateless("Hi", 4);
  hot.sampling.temperature = 3;
  EXPECT_NE(service_->chat(hot, std::make_shared<Collector>()).message().find("temperature"), std::string::npos);
  ChatRequest answerless = stateless("Hi", 4);
  answerless.messages.back().role = "assistant";
  EXPECT_EQ(service_->chat(answerless, std::make_shared<Collector>()).code(), StatusCode::kInvalidArgument);
}

TEST_F(ChatTest, StopStringsEndTheAnswerAndAreNotPartOfIt) {
  reopen();
  const auto free = std::make_shared<Collector>();
  ASSERT_TRUE(service_->chat(stateless("Count from one to ten in words.", 40), free).ok());
  const std::string whole = free->wait().value().text;
  ASSERT_GT(whole.size(), 12U);
  const std::string stop = whole.substr(8, 3);
  ChatRequest request = stateless("Count from one to ten in words.", 40);
  request.sampling.stop = {stop};
  const auto sink = std::make_shared<Collector>();
  ASSERT_TRUE(service_->chat(request, sink).ok());
  const ChatResult cut = sink->wait().value();
  EXPECT_EQ(cut.finish_reason, "stop");
  EXPECT_EQ(cut.text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(sink->streamed(), cut.text);
}

TEST_F(ChatTest, EqualSeedsGiveEqualAnswers) {
  reopen();
  std::vector<std::string> texts;
  for (const uint64_t seed : {7, 7, 8}) {
    ChatRequest request = stateless("Tell me a story about a fox.", 24);
    request.sampling.temperature = 1.2F;
    request.sampling.seed = seed;
    const auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(service_->chat(request, sink).ok());
    texts.push_back(sink->wait().value().text);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_NE(texts[0], texts[2]);
}

TEST_F(ChatTest, ASessionRemembersQuestionAndAnswer) {
  reopen();
  const std::string session = new_session("template");
  const ChatResult first = ask(session, "My name is Orla and I keep bees. Say hello.").value();
  EXPECT_EQ(first.user_turn, 0);
  EXPECT_EQ(first.assistant_turn, 1);
  settle(session);
  const ChatResult second = ask(session, "What do I keep?").value();
  EXPECT_GT(second.recall.tokens_reused, 20);
  EXPECT_LT(second.recall.tokens_read, 30);
  const auto turns = service_->turns("local", session, 0, -1).value();
  ASSERT_EQ(turns.size(), 4U);
  EXPECT_EQ(turns[1].message.text, first.text);
  EXPECT_EQ(turns[3].message.text, second.text);
  EXPECT_TRUE(turns[2].message.time_ms.has_value());
}

TEST_F(ChatTest, AClientThatResendsEverythingAddsOnlyWhatIsNew) {
  reopen();
  const std::string session = new_session("template");
  ChatRequest request;
  request.principal = "local";
  request.session = session;
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 8;
  request.messages.push_back({"system", "", "Be brief.", std::nullopt});
  for (const char* question : {"I live in Bergen.", "I have two cats.", "Where do I live?"}) {
    request.messages.push_back({"user", "", question, std::nullopt});
    const auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(service_->chat(request, sink).ok());
    request.messages.push_back({"assistant", "", " " + sink->wait().value().text + "\n", std::nullopt});
  }
  const auto turns = service_->turns("local", session, 0, -1).value();
  std::vector<std::string> said;
  for (const Turn& turn : turns)
    if (turn.message.role != "assistant") said.push_back(turn.message.text);
  EXPECT_EQ(said, (std::vector<std::string>{"Be brief.", "I live in Bergen.", "I have two cats.", "Where do I live?"}));
}

TEST_F(ChatTest, WithoutRememberNothingIsAdded) {
  reopen();
  const std::string session = new_session("plain");
  ASSERT_TRUE(service_->append("local", session, talk(4)).ok());
  settle(session);
  const ChatResult result = ask(session, "Who walked?", 6, false).value();
  EXPECT_EQ(result.user_turn, -1);
  EXPECT_EQ(service_->session("local", session).value().turns, 4);
}

TEST_F(ChatTest, AClientThatLeavesEndsItsAnswerAndKeepsWhatItSaw) {
  reopen();
  const std::string session = new_session("template");
  ChatRequest request = stateless("Write a long poem about rain.", 200);
  request.session = session;
  const auto sink = std::make_shared<Collector>(3);
  ASSERT_TRUE(service_->chat(request, sink).ok());
  const ChatResult result = sink->wait().value();
  EXPECT_EQ(result.finish_reason, "cancelled");
  EXPECT_LT(result.completion_tokens, 20);
  EXPECT_EQ(service_->turns("local", session, 1, 1).value().at(0).message.text, sink->streamed());
}

TEST_F(ChatTest, SeveralAnswersAdvanceTogetherAndEqualTheirSoloRuns) {
  reopen();
  const std::vector<std::string> questions{"What is the capital of France?", "Name three colours.", "What is 2 + 2?"};
  std::vector<std::string> solo;
  for (const std::string& question : questions) {
    const auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(service_->chat(stateless(question, 20), sink).ok());
    solo.push_back(sink->wait().value().text);
  }
  std::vector<std::shared_ptr<Collector>> sinks;
  for (const std::string& question : questions) {
    sinks.push_back(std::make_shared<Collector>());
    ASSERT_TRUE(service_->chat(stateless(question, 20), sinks.back()).ok());
  }
  // Rounding may differ when tokens are multiplied together, so a late token may: the beginnings must agree.
  for (size_t i = 0; i < sinks.size(); ++i)
    EXPECT_EQ(sinks[i]->wait().value().text.substr(0, 12), solo[i].substr(0, 12));
}

TEST_F(ChatTest, AFullQueueSaysSo) {
  options_.max_queued = 2;
  options_.max_active = 1;
  reopen();
  std::vector<std::shared_ptr<Collector>> sinks;
  Status last;
  for (int i = 0; i < 12 && last.ok(); ++i) {
    sinks.push_back(std::make_shared<Collector>());
    last = service_->chat(stateless("Write a long poem about rain.", 30), sinks.back());
  }
  EXPECT_EQ(last.code(), StatusCode::kResourceExhausted);
  sinks.pop_back();
  for (const auto& sink : sinks) EXPECT_TRUE(sink->wait().ok());
}

TEST_F(ChatTest, DrainingLetsAnAnswerFinishAndRefusesNewOnes) {
  reopen();
  const auto sink = std::make_shared<Collector>();
  ASSERT_TRUE(service_->chat(stateless("Count to ten.", 15), sink).ok());
  service_->drain(60'000);
  EXPECT_TRUE(sink->over());
  EXPECT_TRUE(sink->wait().ok());
  EXPECT_EQ(service_->chat(stateless("Hi", 4), std::make_shared<Collector>()).code(), StatusCode::kUnavailable);
}

TEST_F(ChatTest, ADeadlineCutsWhatIsLeft) {
  reopen();
  const auto sink = std::make_shared<Collector>();
  ASSERT_TRUE(service_->chat(stateless("Write a very long story.", 1500), sink).ok());
  service_->drain(300);
  EXPECT_EQ(sink->wait().status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace recalld::daemon
