// Routes, errors, and clients that misbehave.
#include <thread>

#include "tests/api/api_fixture.h"

namespace recalld::api {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST_F(ApiTest, HealthAnswersBeforeTheServiceIsOpenAndTheRestSays503) {
  start(false);
  server_->set_starting("loading the model");
  EXPECT_EQ(ask("GET", "/health").body, "{\"status\":\"ok\"}\n");
  const RawResponse ready = ask("GET", "/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(json(ready).at("reason").as_string(), "loading the model");
  const RawResponse models = ask("GET", "/v1/models");
  EXPECT_EQ(models.status, 503);
  EXPECT_EQ(models.headers.at("retry-after"), "2");
  server_->open(service_);
  EXPECT_EQ(ask("GET", "/ready").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models").status, 200);
}

TEST_F(ApiTest, ReadyTellsWhyNot) {
  start();
  service_.set_ready(storage_full("the disk is full"));
  const RawResponse response = ask("GET", "/ready");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(json(response).at("status").as_string(), "storage_full");
  EXPECT_EQ(json(response).at("reason").as_string(), "the disk is full");
}

TEST_F(ApiTest, ModelsHasOpenAiShape) {
  start();
  const boost::json::object body = json(ask("GET", "/v1/models"));
  EXPECT_EQ(body.at("object").as_string(), "list");
  const boost::json::object& model = body.at("data").as_array().at(0).as_object();
  EXPECT_EQ(model.at("id").as_string(), "tiny");
  EXPECT_EQ(model.at("object").as_string(), "model");
  EXPECT_EQ(model.at("created").as_int64(), 1'700'000'000);
  EXPECT_EQ(ask("GET", "/v1/models/tiny").status, 200);
  EXPECT_EQ(field(ask("GET", "/v1/models/other"), "code"), "model_not_found");
}

TEST_F(ApiTest, SessionFromCreationToDeletion) {
  start();
  const RawResponse created = ask("POST", "/v1/sessions", R"({"title":"Canoe","style":"plain"})");
  EXPECT_EQ(created.status, 201);
  const std::string path = created.headers.at("location");
  EXPECT_EQ(json(created).at("style").as_string(), "plain");
  EXPECT_EQ(json(created).at("created_at").as_string(), "2023-05-08T13:56:00Z");

  const RawResponse appended =
      ask("POST", path + "/messages",
          R"({"messages":[{"role":"user","content":"one","speaker":"Ada","time":"2023-05-08T13:56:00Z"},
              {"role":"assistant","content":[{"type":"text","text":"two"},{"type":"text","text":"three"}],"time":1000}]})");
  EXPECT_EQ(appended.status, 201) << appended.body;
  EXPECT_EQ(json(appended).at("first_turn").as_int64(), 0);
  EXPECT_EQ(json(appended).at("turns").as_int64(), 2);

  const boost::json::object page = json(ask("GET", path + "?turns=1&first=0&limit=1"));
  EXPECT_EQ(page.at("turn_count").as_int64(), 2);
  EXPECT_EQ(page.at("next").as_int64(), 1);
  EXPECT_EQ(page.at("turns").as_array().at(0).at("speaker").as_string(), "Ada");
  const boost::json::object rest = json(ask("GET", path + "?turns=1&first=1"));
  EXPECT_TRUE(rest.at("next").is_null());
  EXPECT_EQ(rest.at("turns").as_array().at(0).at("content").as_string(), "two\nthree");
  EXPECT_EQ(rest.at("turns").as_array().at(0).at("time").as_string(), "1970-01-01T00:00:01Z");
  EXPECT_TRUE(rest.at("turns").as_array().at(0).at("speaker").is_null());

  const boost::json::object memory = json(ask("GET", path + "/memory"));
  EXPECT_EQ(memory.at("turns").as_int64(), 2);
  EXPECT_EQ(memory.at("encoder").as_string(), "all-MiniLM-L6-v2");
  EXPECT_EQ(memory.at("reading").as_string(), "recent");
  EXPECT_EQ(memory.at("recall_tokens").as_int64(), 1024);
  EXPECT_EQ(memory.at("segments").as_int64(), 5);
  EXPECT_EQ(memory.at("segments_pending").as_int64(), 1);
  EXPECT_EQ(memory.at("episodes"), boost::json::parse(R"([{"id":0,"title":"canoe, boathouse",
      "first":"2023-05-08T13:56:00Z","last":"2023-05-09T13:56:00Z","segments":3,"turns":7,"tokens":420},
      {"id":1,"title":"","first":null,"last":null,"segments":1,"turns":1,"tokens":9}])"));
  EXPECT_EQ(json(ask("GET", "/v1/sessions")).at("data").as_array().size(), 1U);
  EXPECT_EQ(json(ask("DELETE", path)).at("deleted").as_bool(), true);
  EXPECT_EQ(field(ask("GET", path), "code"), "session_not_found");
}

TEST_F(ApiTest, EmptyBodyMakesASession) {
  start();
  EXPECT_EQ(ask("POST", "/v1/sessions").status, 201);
}

TEST_F(ApiTest, ImportTakesBothFormatsAndRecognisesARepeat) {
  start();
  const std::string path = "/v1/sessions/" + new_session() + "/import";
  const std::string lines = "{\"role\":\"user\",\"content\":\"a\"}\r\n\r\n{\"role\":\"assistant\",\"content\":\"b\"}\n";
  const std::string type = "Content-Type: application/x-ndjson\r\n";
  const RawResponse first = ask("POST", path, lines, type);
  EXPECT_EQ(first.status, 201) << first.body;
  EXPECT_EQ(json(first).at("turns").as_int64(), 2);
  const RawResponse again = ask("POST", path, "\xEF\xBB\xBF" + lines, type);
  EXPECT_EQ(again.status, 200);
  EXPECT_TRUE(json(again).at("duplicate").as_bool());
  EXPECT_EQ(json(again).at("turns").as_int64(), 0);
  const RawResponse locomo = ask("POST", path,
                                 R"({"conversation":{"speaker_a":"Ann","speaker_b":"Bob",
        "session_1_date_time":"1:56 pm on 8 May, 2023","session_1":[{"speaker":"Bob","text":"hi","dia_id":"D1:1"}]}})");
  EXPECT_EQ(locomo.status, 201) << locomo.body;
  EXPECT_EQ(json(locomo).at("first_turn").as_int64(), 2);
}

TEST_F(ApiTest, ImportIsAllOrNothingAndNamesTheLine) {
  start();
  const std::string session = "/v1/sessions/" + new_session();
  const RawResponse bad = ask("POST", session + "/import", "{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"us",
                              "Content-Type: application/x-ndjson\r\n");
  EXPECT_EQ(bad.status, 400);
  EXPECT_THAT(field(bad, "message"), HasSubstr("line 2"));
  EXPECT_EQ(json(ask("GET", session)).at("turn_count").as_int64(), 0);
}

TEST_F(ApiTest, AdminRoutes) {
  start();
  EXPECT_EQ(json(ask("POST", "/v1/admin/backup", R"({"path":"/new"})")).at("path").as_string(), "/new");
  EXPECT_EQ(ask("POST", "/v1/admin/backup", R"({"path":"/exists"})").status, 409);
  EXPECT_EQ(field(ask("POST", "/v1/admin/backup", R"({"path":"here"})"), "param"), "path");
  const boost::json::object verify = json(ask("POST", "/v1/admin/verify"));
  EXPECT_FALSE(verify.at("ok").as_bool());
  EXPECT_EQ(verify.at("stores").as_array().at(1).at("problems").as_array().at(0).as_string(), "page 7: checksum");
}

TEST_F(ApiTest, MetricsCountRoutesByPattern) {
  start();
  const std::string session = new_session();
  ask("GET", "/v1/sessions/" + session);
  ask("GET", "/v1/sessions/s_nothing");
  ask("POST", "/v1/chat/completions", kQuestion);
  const RawResponse response = ask("GET", "/metrics");
  EXPECT_THAT(response.headers.at("content-type"), HasSubstr("version=0.0.4"));
  EXPECT_THAT(response.body, HasSubstr("recalld_http_requests_total{route=\"/v1/sessions/{id}\",method=\"GET\","
                                       "code=\"200\"} 1\n"));
  EXPECT_THAT(response.body, HasSubstr("route=\"/v1/sessions/{id}\",method=\"GET\",code=\"404\"} 1\n"));
  EXPECT_THAT(response.body, HasSubstr("recalld_chat_time_to_first_token_seconds_bucket{le=\"0.025\"} 1\n"));
  EXPECT_THAT(response.body, HasSubstr("recalld_chat_tokens_total{kind=\"reused\"} 100\n"));
  EXPECT_THAT(response.body, HasSubstr("recalld_http_requests_in_flight 1\n"));
  // Samples of one metric stand under one head, their labels escaped.
  EXPECT_THAT(response.body,
              HasSubstr("# TYPE recalld_engine_queue gauge\nrecalld_engine_queue{kind=\"a\\\"b\\\\c\\nd\"} 2"
                        "\nrecalld_engine_queue{kind=\"plain\"} 3\n"));
  EXPECT_EQ(response.body.find(session), std::string::npos);
}

TEST_F(ApiTest, UnknownPathsAndMethods) {
  start();
  EXPECT_EQ(field(ask("GET", "/v1/nothing"), "code"), "not_found");
  const RawResponse wrong = ask("PUT", "/v1/sessions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST, GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("BREW", "/v1/sessions").status, 405);
  const RawResponse options = ask("OPTIONS", "/v1/chat/completions");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("allow"), "POST, OPTIONS");
  const RawResponse head = ask("HEAD", "/v1/models");
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.headers.at("content-length"), "0");
  EXPECT_EQ(ask("HEAD", "/v1/chat/completions").status, 405);
  EXPECT_EQ(ask("GET", "/v1/sessions/..%2f..%2fetc").status, 404);
  EXPECT_EQ(ask("GET", "/v1/sessions/a b").status, 400);
}

TEST_F(ApiTest, EveryAnswerCarriesARequestId) {
  start();
  EXPECT_EQ(ask("GET", "/health", "", "X-Request-Id: my-1.id_\r\n").headers.at("x-request-id"), "my-1.id_");
  EXPECT_THAT(ask("GET", "/health", "", "X-Request-Id: not allowed\r\n").headers.at("x-request-id"),
              ::testing::StartsWith("req_"));
  EXPECT_THAT(ask("GET", "/v1/nothing").headers.at("x-request-id"), ::testing::StartsWith("req_"));
}

TEST_F(ApiTest, ErrorsHaveAllFourKeysAndTheStatusOfTheirCode) {
  start();
  const std::vector<std::pair<Status, int>> cases = {{invalid_argument("x"), 400}, {already_exists("x"), 409},
                                                     {too_large("x"), 413},        {resource_exhausted("x"), 429},
                                                     {storage_full("x"), 507},     {failed_precondition("x"), 409},
                                                     {corrupt("x"), 500},          {unsupported("x"), 400},
                                                     {unavailable("x"), 503},      {internal_error("x"), 500}};
  for (const auto& [status, code] : cases) {
    service_.set_failure(status);
    const RawResponse response = ask("POST", "/v1/sessions", "{}");
    EXPECT_EQ(response.status, code) << status.to_string();
    const boost::json::object error = json(response).at("error").as_object();
    EXPECT_EQ(error.size(), 4U);
    EXPECT_EQ(error.at("message").as_string(), "x");
    EXPECT_TRUE(error.contains("param") && error.contains("type") && error.contains("code"));
    EXPECT_EQ(response.headers.contains("retry-after"), code == 429 || code == 503);
  }
}

TEST_F(ApiTest, MalformedJsonNamesThePlace) {
  start();
  const RawResponse response = ask("POST", "/v1/chat/completions", "{\n  \"messages\": oops}");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(field(response, "code"), "invalid_json");
  EXPECT_THAT(field(response, "message"), HasSubstr("line 2, column 15"));
  EXPECT_THAT(field(ask("POST", "/v1/sessions", "{\"title\":"), "message"), HasSubstr("ends too early"));
  EXPECT_THAT(field(ask("POST", "/v1/sessions", "{} {}"), "message"), HasSubstr("something follows"));
  EXPECT_THAT(field(ask("POST", "/v1/sessions", "{\"title\":NaN}"), "code"), HasSubstr("invalid_json"));
  const std::string deep(200'000, '[');
  EXPECT_THAT(field(ask("POST", "/v1/sessions", deep), "message"), HasSubstr("nested deeper than 32"));
}

TEST_F(ApiTest, TextThatIsNotUtf8OrHoldsNulIsRefused) {
  start();
  const std::string path = "/v1/sessions/" + new_session() + "/messages";
  EXPECT_EQ(ask("POST", path, "{\"messages\":[{\"role\":\"user\",\"content\":\"\xFF\xFE\"}]}").status, 400);
  EXPECT_EQ(ask("POST", path, "{\"messages\":[{\"role\":\"user\",\"content\":\"\xED\xA0\x80\"}]}").status, 400);
  const RawResponse nul = ask("POST", path, R"({"messages":[{"role":"user","content":"a\u0000b"}]})");
  EXPECT_EQ(nul.status, 400);
  EXPECT_EQ(field(nul, "param"), "messages[0].content");
  EXPECT_THAT(field(nul, "message"), HasSubstr("NUL character at byte 1"));
}

TEST_F(ApiTest, WrongContentTypeIsNamed) {
  start();
  const RawResponse form = ask("POST", "/v1/sessions", "{}", "Content-Type: application/x-www-form-urlencoded\r\n");
  EXPECT_EQ(form.status, 415);
  EXPECT_THAT(field(form, "message"), HasSubstr("send application/json"));
  EXPECT_EQ(ask("POST", "/v1/sessions", "{}", "Content-Type: Application/JSON; charset=utf-8\r\n").status, 201);
}

TEST_F(ApiTest, BodyTooLargeIsRefusedBeforeItIsRead) {
  start();
  RawClient client(address());
  client.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 104857600\r\n\r\n{\"messages\"");
  const RawResponse response = client.response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_THAT(field(response, "message"), HasSubstr("33554432"));
}

TEST_F(ApiTest, ExpectContinueIsHonoured) {
  start();
  const std::string head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  RawClient fits(address());
  fits.send(head + "Expect: 100-continue\r\nContent-Length: 13\r\n\r\n");
  EXPECT_EQ(fits.response().status, 100);
  fits.send("{\"title\":\"t\"}");
  EXPECT_EQ(fits.response().status, 201);
  RawClient large(address());
  large.send(head + "Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n");
  EXPECT_EQ(large.response().status, 413);
  RawClient odd(address());
  odd.send(head + "Expect: a-miracle\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(odd.response().status, 417);
}

TEST_F(ApiTest, ChunkedBodyIsBoundedToo) {
  options_.max_body_bytes = 1024;
  start();
  const std::string head =
      "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  RawClient small(address());
  small.send(head + "5\r\n{\"tit\r\n8\r\nle\":\"t\"}\r\n0\r\n\r\n");
  EXPECT_EQ(small.response().status, 201);
  RawClient large(address());
  large.send(head + "800\r\n" + std::string(2048, ' ') + "\r\n");
  EXPECT_EQ(large.response().status, 413);
}

TEST_F(ApiTest, HeaderFloodIs431) {
  start();
  RawClient client(address());
  std::string text = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 3000; ++i) text += "X-Header-" + std::to_string(i) + ": " + std::string(50, 'x') + "\r\n";
  client.send(text);
  EXPECT_EQ(client.response().status, 431);
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

TEST_F(ApiTest, SlowHeadersAre408) {
  options_.header_timeout = milliseconds(100);
  start();
  RawClient client(address());
  client.send("GET /health HTTP/1.1\r\nHost: lo");
  EXPECT_EQ(client.response().status, 408);
  EXPECT_TRUE(client.at_end());
  RawClient silent(address());
  EXPECT_TRUE(silent.at_end());
}

TEST_F(ApiTest, SlowBodyIs408AndIdleConnectionsAreClosed) {
  options_.body_timeout = milliseconds(100);
  options_.idle_timeout = milliseconds(100);
  start();
  RawClient client(address());
  client.send(
      "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 50\r\n\r\n{");
  EXPECT_EQ(client.response().status, 408);
  RawClient idle(address());
  idle.send(request_text("GET", "/health"));
  EXPECT_EQ(idle.response().status, 200);
  EXPECT_TRUE(idle.at_end());
}

TEST_F(ApiTest, HalfClosedClientGetsItsAnswer) {
  start();
  RawClient client(address());
  client.send(request_text("GET", "/v1/models"));
  client.end_sending();
  EXPECT_EQ(client.response().status, 200);
  EXPECT_TRUE(client.at_end());
}

TEST_F(ApiTest, ConnectionEndedInTheMiddleOfARequestIsAnError) {
  start();
  RawClient in_headers(address());
  in_headers.send("GET /health HTTP/1.1\r\nHost: loc");
  in_headers.end_sending();
  EXPECT_EQ(in_headers.response().status, 400);
  RawClient in_body(address());
  in_body.send(
      "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 50\r\n\r\n{\"title\"");
  in_body.end_sending();
  const RawResponse response = in_body.response();
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(field(response, "message"), HasSubstr("before the body was complete"));
  EXPECT_EQ(json(ask("GET", "/v1/sessions")).at("data").as_array().size(), 0U);
}

TEST_F(ApiTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  RawClient client(address());
  client.send(request_text("GET", "/health") + request_text("POST", "/v1/chat/completions", kQuestion) +
              request_text("GET", "/v1/nothing") + request_text("GET", "/v1/models"));
  EXPECT_EQ(client.response().status, 200);
  EXPECT_EQ(json(client.response()).at("object").as_string(), "chat.completion");
  EXPECT_EQ(client.response().status, 404);
  EXPECT_EQ(json(client.response()).at("object").as_string(), "list");
}

TEST_F(ApiTest, KeepAliveFollowsTheProtocolVersion) {
  start();
  RawClient one(address());
  one.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(one.response().headers.at("connection"), "close");
  EXPECT_TRUE(one.at_end());
  RawClient close(address());
  close.send(request_text("GET", "/health", "", "Connection: close\r\n"));
  EXPECT_EQ(close.response().headers.at("connection"), "close");
  EXPECT_TRUE(close.at_end());
}

TEST_F(ApiTest, NonsenseIs400) {
  start();
  for (const char* text :
       {"\x16\x03\x01\x02", "GET / HTTP/9.9\r\n\r\n", "GET /health HTTP/1.1\r\n\r\n",
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"}) {
    RawClient client(address());
    client.send(text);
    client.end_sending();
    EXPECT_EQ(client.response().status, 400) << text;
  }
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

TEST_F(ApiTest, ConnectionsOverTheLimitAreRefused) {
  options_.max_connections = 2;
  start();
  RawClient first(address()), second(address());
  first.send(request_text("GET", "/health"));
  second.send(request_text("GET", "/health"));
  EXPECT_EQ(first.response().status, 200);
  EXPECT_EQ(second.response().status, 200);
  RawClient third(address());
  EXPECT_EQ(third.response().status, 503);
  first.close();
  // The place is free once the server has seen the end.
  for (int i = 0; i < 100; ++i) {
    if (ask("GET", "/health").status == 200) return;
    std::this_thread::sleep_for(milliseconds(20));
  }
  ADD_FAILURE() << "a closed connection never gave its place back";
}

TEST_F(ApiTest, DrainRefusesNewConnectionsAndEndsIdleOnes) {
  start();
  RawClient idle(address());
  idle.send(request_text("GET", "/health"));
  EXPECT_EQ(idle.response().status, 200);
  const std::string where = address();
  server_->begin_drain();
  EXPECT_TRUE(idle.at_end());
  EXPECT_FALSE(RawClient(where).connected());
}

TEST_F(ApiTest, TakenPortAndWrongAddressesAreErrors) {
  start();
  ServerOptions again = options_;
  again.listen = {address()};
  auto taken = Server::start(again, keys_, clock_, log_);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(taken.status().message(), HasSubstr(address()));
  for (const char* wrong : {"127.0.0.1", "127.0.0.1:99999", ":80", "::1:80", "127.0.0.1:x"})
    EXPECT_EQ(check_listen({wrong}, true).code(), StatusCode::kInvalidArgument) << wrong;
  for (const char* open : {"0.0.0.0:1", "[::]:1", "192.168.1.1:1"}) {
    EXPECT_THAT(check_listen({open}, false).message(), HasSubstr("server.api_keys_file")) << open;
    EXPECT_TRUE(check_listen({open}, true).ok()) << open;
  }
  EXPECT_TRUE(check_listen({"127.0.0.1:1", "[::1]:1", "localhost:1"}, false).ok());
}

TEST_F(ApiTest, WatchdogSeesThreadsThatAnswer) {
  start();
  EXPECT_TRUE(server_->alive(milliseconds(5000)));
}

TEST_F(ApiTest, ResetInTheMiddleLeavesTheServerAlive) {
  start();
  for (int i = 0; i < 20; ++i) {
    RawClient client(address());
    client.send(std::string(request_text("POST", "/v1/chat/completions", kStreamQuestion)).substr(0, 40 + 7 * i));
    client.reset();
  }
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

}  // namespace
}  // namespace recalld::api
