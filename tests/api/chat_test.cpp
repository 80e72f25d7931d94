// POST /v1/chat/completions: shapes, streams, and clients that leave or dawdle.
#include <atomic>
#include <future>

#include "tests/api/api_fixture.h"

namespace recalld::api {
namespace {

using daemon::ChatRequest;
using daemon::ChatSink;
using daemon::ScriptedService;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr auto kChat = "/v1/chat/completions";

std::string body_with(const std::string& fields) {
  return R"({"messages":[{"role":"user","content":"Hi"}],)" + fields + "}";
}

class ChatTest : public ApiTest {
 protected:
  std::string refused(const std::string& body, const std::string& param, const std::string& code = "invalid_argument") {
    const RawResponse response = ask("POST", kChat, body);
    EXPECT_EQ(response.status, 400) << body << response.body;
    EXPECT_EQ(field(response, "param"), param) << body;
    EXPECT_EQ(field(response, "code"), code) << body;
    return field(response, "message");
  }
};

TEST_F(ChatTest, WholeAnswerHasOpenAiShape) {
  start();
  const RawResponse response = ask("POST", kChat, kQuestion);
  EXPECT_EQ(response.status, 200);
  const boost::json::object body = json(response);
  EXPECT_THAT(std::string(body.at("id").as_string()), ::testing::MatchesRegex("chatcmpl-[0-9a-f]+"));
  EXPECT_EQ(body.at("object").as_string(), "chat.completion");
  EXPECT_GT(body.at("created").as_int64(), 1'700'000'000);
  EXPECT_EQ(body.at("model").as_string(), "tiny");
  const boost::json::object& choice = body.at("choices").as_array().at(0).as_object();
  EXPECT_EQ(choice.at("index").as_int64(), 0);
  EXPECT_EQ(choice.at("message").at("role").as_string(), "assistant");
  EXPECT_EQ(choice.at("message").at("content").as_string(), "Hello, world.");
  EXPECT_EQ(choice.at("finish_reason").as_string(), "stop");
  const boost::json::object& usage = body.at("usage").as_object();
  EXPECT_EQ(usage.at("prompt_tokens").as_int64(), 120);
  EXPECT_EQ(usage.at("completion_tokens").as_int64(), 4);
  EXPECT_EQ(usage.at("total_tokens").as_int64(), 124);
  EXPECT_EQ(usage.at("prompt_tokens_details").at("cached_tokens").as_int64(), 100);
  EXPECT_TRUE(body.at("recall").at("session").is_null());
  EXPECT_THAT(response.body, HasSubstr("\"first_token_ms\":12.5,"));
}

TEST_F(ChatTest, RecallSaysWhatWasChosenAndWhy) {
  start();
  const RawResponse response = ask("POST", kChat, kQuestion);
  const boost::json::object recall = json(response).at("recall").as_object();
  EXPECT_EQ(recall.at("chosen_by").as_string(), "question");
  EXPECT_EQ(recall.at("chosen_tokens").as_int64(), 60);
  EXPECT_EQ(recall.at("recent_tokens").as_int64(), 40);
  EXPECT_DOUBLE_EQ(recall.at("margin").as_double(), 0.25);
  EXPECT_DOUBLE_EQ(recall.at("search_ms").as_double(), 1.5);
  EXPECT_EQ(recall.at("episodes"), boost::json::parse(R"([{"id":3,"title":"canoe, boathouse",
      "first":"2023-05-08T13:56:00Z","last":"2023-05-09T13:56:00Z"}])"));
  EXPECT_EQ(recall.at("segments").at(0), boost::json::parse(R"({"episode":3,"first_turn":1,"turns":2,"tokens":50,
      "first":"2023-05-08T13:56:00Z","last":"2023-05-08T13:57:00Z","score":4.5,"signals":{"dense":2,"lexical":1.25,
      "neighbours":0.5,"speaker":0.25,"time":0.375,"prior":0.125},"words":["canoe","caf\u00e9"]})"));
  const boost::json::value& undated = recall.at("segments").at(1);
  EXPECT_TRUE(undated.at("episode").is_null());
  EXPECT_TRUE(undated.at("first").is_null());
  EXPECT_EQ(undated.at("words").as_array().size(), 0U);
  EXPECT_EQ(undated.at("score").to_number<double>(), 0) << "JSON has no infinity";
}

TEST_F(ChatTest, AnAnswerFromTheWholeHistoryNamesNoSegments) {
  start();
  service_.set_script([](const daemon::ChatRequest&, daemon::ChatSink& sink) {
    sink.on_start(-1);
    sink.on_done({});
  });
  const boost::json::object recall = json(ask("POST", kChat, kQuestion)).at("recall").as_object();
  EXPECT_EQ(recall.at("chosen_by").as_string(), "all");
  EXPECT_TRUE(recall.at("segments").as_array().empty());
  EXPECT_TRUE(recall.at("episodes").as_array().empty());
}

TEST_F(ChatTest, StreamHasOpenAiShape) {
  start();
  const RawResponse response =
      ask("POST", kChat, body_with(R"("stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.complete);
  EXPECT_THAT(response.headers.at("content-type"), HasSubstr("text/event-stream"));
  EXPECT_EQ(response.headers.at("cache-control"), "no-cache");
  const std::vector<std::string> events = sse_payloads(response.body);
  ASSERT_GE(events.size(), 5U) << response.body;
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text, finish;
  std::set<std::string> ids;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const boost::json::object chunk = boost::json::parse(events[i]).as_object();
    ids.insert(std::string(chunk.at("id").as_string()));
    EXPECT_EQ(chunk.at("object").as_string(), "chat.completion.chunk");
    const bool usage_chunk = i + 2 == events.size();
    EXPECT_EQ(chunk.at("usage").is_null(), !usage_chunk);
    if (usage_chunk) {
      EXPECT_TRUE(chunk.at("choices").as_array().empty());
      EXPECT_EQ(chunk.at("usage").at("total_tokens").as_int64(), 124);
      continue;
    }
    const boost::json::object& choice = chunk.at("choices").as_array().at(0).as_object();
    const boost::json::object& delta = choice.at("delta").as_object();
    EXPECT_EQ(delta.contains("role"), i == 0);
    if (delta.contains("content")) text += std::string(delta.at("content").as_string());
    if (!choice.at("finish_reason").is_null()) {
      finish = std::string(choice.at("finish_reason").as_string());
      EXPECT_TRUE(delta.empty());
      EXPECT_EQ(chunk.at("recall").at("tokens_reused").as_int64(), 100);
      EXPECT_EQ(chunk.at("recall").at("segments").as_array().size(), 2U);
    }
  }
  EXPECT_EQ(text, "Hello, world.");
  EXPECT_EQ(finish, "stop");
  EXPECT_EQ(ids.size(), 1U);
}

TEST_F(ChatTest, StreamWithoutUsageHasNoUsageKey) {
  start();
  const RawResponse response = ask("POST", kChat, kStreamQuestion);
  EXPECT_EQ(response.body.find("usage"), std::string::npos);
}

TEST_F(ChatTest, StreamForHttp10EndsWithTheConnection) {
  start();
  RawClient client(address());
  client.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(kStreamQuestion.size()) + "\r\n\r\n" + std::string(kStreamQuestion));
  const std::string text = client.read_to_end();
  EXPECT_EQ(text.find("chunked"), std::string::npos);
  EXPECT_THAT(text, ::testing::EndsWith("data: [DONE]\n\n"));
}

TEST_F(ChatTest, ConnectionServesAfterAStream) {
  start();
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  EXPECT_TRUE(client.response().complete);
  client.send(request_text("GET", "/health"));
  EXPECT_EQ(client.response().status, 200);
}

TEST_F(ChatTest, RequestReachesTheServiceWhole) {
  start();
  const std::string session = new_session();
  const RawResponse response = ask("POST", kChat,
                                   R"({"model":"tiny","messages":[{"role":"developer","content":"Be brief."},
      {"role":"user","content":[{"type":"text","text":"Hi"}],"name":"Ada"}],"temperature":0.5,"top_p":0.9,"top_k":40,
      "min_p":0.05,"repeat_penalty":1.1,"frequency_penalty":-1,"presence_penalty":2,"seed":-1,"max_tokens":7,
      "stop":["a","b"],"remember":false,"user":"u1","store":true,"tools":[],"n":1,"logit_bias":null,
      "response_format":{"type":"text"},"modalities":["text"],"unknown_field":{"x":1}})",
                                   "X-Recalld-Session: " + session + "\r\n");
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(json(response).at("recall").at("session").as_string(), session);
  ASSERT_EQ(service_.requests().size(), 1U);
  const ChatRequest request = service_.requests().front();
  EXPECT_EQ(request.principal, "local");
  EXPECT_EQ(request.session, session);
  EXPECT_EQ(request.messages.at(0).role, "system");
  EXPECT_EQ(request.messages.at(1).text, "Hi");
  EXPECT_EQ(request.messages.at(1).speaker, "Ada");
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.5F);
  EXPECT_FLOAT_EQ(request.sampling.top_p, 0.9F);
  EXPECT_EQ(request.sampling.top_k, 40);
  EXPECT_FLOAT_EQ(request.sampling.min_p, 0.05F);
  EXPECT_FLOAT_EQ(request.sampling.repeat_penalty, 1.1F);
  EXPECT_FLOAT_EQ(request.sampling.frequency_penalty, -1);
  EXPECT_FLOAT_EQ(request.sampling.presence_penalty, 2);
  EXPECT_EQ(request.sampling.seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(request.sampling.max_tokens, 7);
  EXPECT_EQ(request.sampling.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(request.remember);
}

TEST_F(ChatTest, SessionComesFromHeaderOrMetadata) {
  start();
  const std::string session = new_session();
  EXPECT_EQ(ask("POST", kChat, body_with(R"("metadata":{"session":")" + session + "\"}")).status, 200);
  EXPECT_EQ(service_.requests().back().session, session);
  const RawResponse both =
      ask("POST", kChat, body_with(R"("metadata":{"session":"s_9"})"), "X-Recalld-Session: " + session + "\r\n");
  EXPECT_EQ(both.status, 400);
  EXPECT_THAT(field(both, "message"), HasSubstr("send one of them"));
  EXPECT_EQ(field(ask("POST", kChat, body_with(R"("metadata":{"session":"s_9"})")), "code"), "session_not_found");
  refused(body_with(R"("metadata":{"session":"../x"})"), "metadata");
}

TEST_F(ChatTest, WrongFieldsAreNamed) {
  start();
  refused("[]", "null");
  refused("{}", "messages");
  refused(R"({"messages":[]})", "messages");
  refused(R"({"messages":"Hi"})", "messages");
  refused(R"({"messages":[{"role":"user"}]})", "messages[0].content");
  refused(R"({"messages":[{"role":"king","content":"x"}]})", "messages[0].role");
  refused(R"({"messages":[{"content":"x"}]})", "messages[0].role");
  refused(R"({"messages":[{"role":"user","content":7}]})", "messages[0].content");
  refused(R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]})", "messages");
  refused(R"({"messages":[{"role":"user","content":""}]})", "messages");
  EXPECT_THAT(refused(body_with(R"("temperature":2.5)"), "temperature"), HasSubstr("between 0 and 2"));
  refused(body_with(R"("temperature":"hot")"), "temperature");
  refused(body_with(R"("temperature":1e400)"), "temperature");
  refused(body_with(R"("temperature":-0.1)"), "temperature");
  refused(body_with(R"("top_p":1.5)"), "top_p");
  refused(body_with(R"("top_k":1.5)"), "top_k");
  refused(body_with(R"("max_tokens":0)"), "max_tokens");
  refused(body_with(R"("max_tokens":99999999999)"), "max_tokens");
  refused(body_with(R"("seed":1.5)"), "seed");
  refused(body_with(R"("stop":["a",1])"), "stop");
  refused(body_with(R"("stop":[""])"), "stop");
  refused(body_with(R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])"), "stop");
  refused(body_with(R"("stream":"yes")"), "stream");
  refused(body_with(R"("stream_options":{"include_usage":1})"), "stream_options.include_usage");
  refused(body_with(R"("metadata":{"a":1})"), "metadata");
  EXPECT_TRUE(service_.requests().empty());
}

TEST_F(ChatTest, WhatCannotBeHonouredIsRefused) {
  start();
  for (const char* fields :
       {R"("tools":[{"type":"function"}])", R"("functions":[{}])", R"("response_format":{"type":"json_object"})",
        R"("logprobs":true)", R"("logit_bias":{"5":1})", R"("modalities":["audio"])", R"("audio":{})", R"("n":2)"}) {
    const RawResponse response = ask("POST", kChat, body_with(fields));
    EXPECT_EQ(response.status, 400) << fields;
    EXPECT_EQ(field(response, "code"), "unsupported") << fields;
  }
  refused(R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", "messages[0].content[0].type",
          "unsupported");
  refused(R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].role", "unsupported");
}

TEST_F(ChatTest, OtherModelsAre404) {
  start();
  const RawResponse response = ask("POST", kChat, body_with(R"("model":"gpt-9")"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(field(response, "code"), "model_not_found");
  for (const char* name : {"tiny", "", "default"})
    EXPECT_EQ(ask("POST", kChat, body_with(R"("model":")" + std::string(name) + "\"")).status, 200) << name;
}

TEST_F(ChatTest, PromptOverTheWindowIsContextLengthExceeded) {
  start();
  service_.set_failure(too_large("the prompt has 9000 tokens; the window of this model holds 8192"));
  const RawResponse response = ask("POST", kChat, kQuestion);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(field(response, "code"), "context_length_exceeded");
}

TEST_F(ChatTest, ErrorBeforeTheFirstTextHasItsOwnStatus) {
  start();
  service_.set_script([](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    sink.on_error(storage_full("the disk is full"));
  });
  EXPECT_EQ(ask("POST", kChat, kStreamQuestion).status, 507);
  EXPECT_EQ(ask("POST", kChat, kQuestion).status, 507);
}

TEST_F(ChatTest, ErrorInTheMiddleIsAnEventAndTheEnd) {
  start();
  std::promise<void> read;
  service_.set_script([arrived = read.get_future().share()](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    sink.on_delta("Hel");
    arrived.wait_for(std::chrono::seconds(10));
    sink.on_error(internal_error("the engine failed"));
  });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  EXPECT_THAT(client.read_until("Hel"), HasSubstr("200 OK"));
  read.set_value();
  const std::string rest = client.read_until("0\r\n\r\n");
  EXPECT_THAT(rest, HasSubstr("data: {\"error\":{\"message\":\"the engine failed\""));
  EXPECT_EQ(rest.find("[DONE]"), std::string::npos);
}

TEST_F(ChatTest, SilentStreamIsKeptAlive) {
  options_.keepalive_interval = milliseconds(30);
  start();
  std::promise<void> seen;
  service_.set_script([waited = seen.get_future().share()](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    waited.wait_for(std::chrono::seconds(10));
    sink.on_delta("late");
    sink.on_done(ScriptedService::result("late"));
  });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  EXPECT_THAT(client.read_until(": keep-alive\n\n"), HasSubstr("200 OK"));
  seen.set_value();
  EXPECT_THAT(client.read_until("[DONE]"), HasSubstr("\"content\":\"late\""));
}

// Deltas until the sink says stop; how many it took.
struct Endless {
  std::atomic<int64_t> pieces{0};
  std::atomic<bool> refused{false};
  void operator()(ChatSink& sink, const std::string& piece, milliseconds pause) {
    sink.on_start(-1);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (!sink.on_delta(piece)) {
        refused = true;
        return sink.on_error(cancelled("the client went away"));
      }
      ++pieces;
      std::this_thread::sleep_for(pause);
    }
    sink.on_done(ScriptedService::result(""));
  }
};

TEST_F(ChatTest, ClientThatLeavesAStreamCancelsItsGeneration) {
  start();
  Endless endless;
  service_.set_script([&](const ChatRequest&, ChatSink& sink) { endless(sink, "x", milliseconds(2)); });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  client.read_until("\"content\":\"x\"");
  client.close();
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(endless.refused);
  EXPECT_THAT(ask("GET", "/metrics").body, HasSubstr("recalld_chat_cancelled_total{reason=\"client_gone\"} 1\n"));
}

TEST_F(ChatTest, ClientThatLeavesBeforeItsAnswerCancelsItsGeneration) {
  start();
  Endless endless;
  service_.set_script([&](const ChatRequest&, ChatSink& sink) { endless(sink, "x", milliseconds(2)); });
  RawClient client(address());
  client.send(request_text("POST", kChat, kQuestion));
  while (endless.pieces == 0) std::this_thread::sleep_for(milliseconds(2));
  client.reset();
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(endless.refused);
}

TEST_F(ChatTest, ClientThatLeavesDuringSilenceCancelsItsGeneration) {
  options_.keepalive_interval = std::chrono::hours(1);
  start();
  std::promise<void> running;
  std::atomic<bool> refused{false};
  service_.set_script([&](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    running.set_value();
    for (int i = 0; i < 500 && !refused; ++i) {
      std::this_thread::sleep_for(milliseconds(20));
      // An engine that reads a long prompt says nothing; this stands for its first word, whenever it comes.
      if (i > 25) refused = !sink.on_delta("x");
    }
    sink.on_error(cancelled("the client went away"));
  });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  running.get_future().wait();
  client.close();
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(refused);
}

TEST_F(ChatTest, HalfClosedStreamingClientGetsItsAnswer) {
  start();
  service_.set_script([](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(milliseconds(10));
      if (!sink.on_delta("x")) return sink.on_error(cancelled("the client went away"));
    }
    sink.on_done(ScriptedService::result(std::string(20, 'x')));
  });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  client.end_sending();
  EXPECT_THAT(client.read_to_end(), HasSubstr("data: [DONE]"));
}

TEST_F(ChatTest, SlowReaderIsCutOffAndNobodyWaitsForIt) {
  options_.max_stream_buffer_bytes = 64 * 1024;
  options_.write_timeout = milliseconds(500);
  start();
  Endless endless;
  service_.set_script([&](const ChatRequest& request, ChatSink& sink) {
    if (request.messages.back().text == "Hi") return endless(sink, std::string(16 * 1024, 'x'), milliseconds(1));
    sink.on_start(-1);
    sink.on_delta("quick");
    sink.on_done(ScriptedService::result("quick"));
  });
  RawClient slow(address(), 4096);
  slow.send(request_text("POST", kChat, kStreamQuestion));
  // The engine is not held up: it hears the refusal at once, and the next question is answered.
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(endless.refused);
  const RawResponse other = ask("POST", kChat, R"({"messages":[{"role":"user","content":"quick?"}]})");
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(slow.read_to_end().find("[DONE]"), std::string::npos);
  EXPECT_THAT(ask("GET", "/metrics").body, HasSubstr("recalld_chat_cancelled_total{reason=\"slow_reader\"} 1\n"));
  EXPECT_GT(endless.pieces, 4) << "it was cut off before its buffer was full";
}

TEST_F(ChatTest, ChatsOverTheLimitAre429) {
  options_.max_queued_requests = 1;
  start();
  std::promise<void> release;
  service_.set_script([released = release.get_future().share()](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    released.wait();
    sink.on_delta("x");
    sink.on_done(ScriptedService::result("x"));
  });
  RawClient first(address());
  first.send(request_text("POST", kChat, kQuestion));
  while (service_.requests().empty()) std::this_thread::sleep_for(milliseconds(2));
  const RawResponse second = ask("POST", kChat, kQuestion);
  EXPECT_EQ(second.status, 429);
  EXPECT_TRUE(second.headers.contains("retry-after"));
  release.set_value();
  EXPECT_EQ(first.response().status, 200);
}

TEST_F(ChatTest, RunningStreamSurvivesTheDrain) {
  start();
  std::promise<void> release;
  service_.set_script([released = release.get_future().share()](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    sink.on_delta("begun");
    released.wait();
    sink.on_delta(" and done");
    sink.on_done(ScriptedService::result("begun and done"));
  });
  RawClient client(address());
  client.send(request_text("POST", kChat, kStreamQuestion));
  client.read_until("begun");
  server_->begin_drain();
  release.set_value();
  service_.drain(1000);
  server_->finish(milliseconds(2000));
  EXPECT_THAT(client.read_to_end(), HasSubstr("[DONE]"));
}

TEST_F(ChatTest, ContentsAreNotLoggedAtInfo) {
  start();
  ask("POST", kChat, R"({"messages":[{"role":"user","content":"my secret canoe"}]})");
  stop();
  EXPECT_EQ(log_text_.str().find("canoe"), std::string::npos);
}

}  // namespace
}  // namespace recalld::api
