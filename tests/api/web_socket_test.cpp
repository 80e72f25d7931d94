// WebSocket: events, back-pressure, cancellation, with Beast's own client.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/json/serialize.hpp>
#include <future>

#include "tests/api/api_fixture.h"

namespace recalld::api {
namespace {

namespace net = boost::asio;
namespace websocket = boost::beast::websocket;
using daemon::ChatRequest;
using daemon::ChatSink;
using daemon::ScriptedService;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

class WsClient {
 public:
  explicit WsClient(const std::string& address, const std::string& path, const std::string& key = "",
                    int receive_buffer = 0) {
    const size_t colon = address.rfind(':');
    const net::ip::tcp::endpoint endpoint(net::ip::make_address(address.substr(0, colon)),
                                          static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    stream_.next_layer().open(endpoint.protocol());
    if (receive_buffer > 0) stream_.next_layer().set_option(net::socket_base::receive_buffer_size(receive_buffer));
    stream_.next_layer().connect(endpoint);
    timeval limit{10, 0};
    ::setsockopt(stream_.next_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    stream_.read_message_max(0);
    if (!key.empty())
      stream_.set_option(websocket::stream_base::decorator([key](websocket::request_type& request) {
        request.set(boost::beast::http::field::authorization, "Bearer " + key);
      }));
    stream_.handshake(response_, "localhost", path, error_);
  }

  bool open() const { return !error_; }
  int status() const { return static_cast<int>(response_.result_int()); }
  void send(const std::string& text) { stream_.write(net::buffer(text), error_); }
  void send_binary() {
    stream_.binary(true);
    send("x");
  }

  // The next event; an empty object when the connection has ended.
  boost::json::object event() {
    boost::beast::flat_buffer buffer;
    stream_.read(buffer, error_);
    if (error_) return {};
    return boost::json::parse(std::string(static_cast<const char*>(buffer.data().data()), buffer.size())).as_object();
  }
  std::string type() {
    const boost::json::object next = event();
    return next.empty() ? "" : std::string(next.at("type").as_string());
  }
  // Reads to the end; the close code the server sent, 0 for none.
  int close_code() {
    while (!error_) event();
    return stream_.reason().code;
  }
  void drop() { stream_.next_layer().close(); }
  void close() { stream_.close(websocket::close_code::normal, error_); }

 private:
  net::io_context io_;
  websocket::stream<net::ip::tcp::socket> stream_{io_};
  websocket::response_type response_;
  boost::system::error_code error_;
};

class WebSocketTest : public ApiTest {
 protected:
  void start() {
    ApiTest::start();
    path_ = "/v1/sessions/" + new_session() + "/ws";
  }
  std::string path_;
};

constexpr auto kAsk = R"({"type":"message","content":"Hi","id":"q1","options":{"temperature":0,"max_tokens":5}})";

TEST_F(WebSocketTest, AnswersWithTheEventsOfAStream) {
  start();
  WsClient client(address(), path_);
  ASSERT_TRUE(client.open());
  client.send(kAsk);
  const boost::json::object begun = client.event();
  EXPECT_EQ(begun.at("type").as_string(), "start");
  EXPECT_EQ(begun.at("id").as_string(), "q1");
  EXPECT_EQ(begun.at("user_turn").as_int64(), 4);
  std::string text;
  boost::json::object event = client.event();
  for (; event.at("type") == "delta"; event = client.event()) text += std::string(event.at("text").as_string());
  EXPECT_EQ(text, "Hello, world.");
  EXPECT_EQ(event.at("type").as_string(), "done");
  EXPECT_EQ(event.at("text").as_string(), text);
  EXPECT_EQ(event.at("finish_reason").as_string(), "stop");
  EXPECT_EQ(event.at("usage").at("total_tokens").as_int64(), 124);
  EXPECT_EQ(event.at("recall").at("assistant_turn").as_int64(), 5);
  EXPECT_EQ(event.at("recall").at("segments").at(0).at("episode").as_int64(), 3);
  EXPECT_EQ(event.at("id").as_string(), "q1");
  EXPECT_FLOAT_EQ(service_.requests().at(0).sampling.temperature, 0);
  EXPECT_EQ(service_.requests().at(0).sampling.max_tokens, 5);
  EXPECT_EQ("/v1/sessions/" + service_.requests().at(0).session + "/ws", path_);

  client.send(R"({"type":"message","content":"again"})");
  const boost::json::object second = client.event();
  EXPECT_EQ(second.at("type").as_string(), "start");
  EXPECT_FALSE(second.contains("id"));
}

TEST_F(WebSocketTest, SenselessEventsAreAnsweredAndTheConnectionStays) {
  start();
  WsClient client(address(), path_);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{oops", "invalid_json"},
      {"[]", "invalid_argument"},
      {R"({"type":"dance"})", "invalid_argument"},
      {R"({"type":"message"})", "invalid_argument"},
      {R"({"type":"message","content":""})", "invalid_argument"},
      {R"({"type":"message","content":"a\u0000"})", "invalid_argument"},
      {R"({"type":"message","content":"x","options":{"temperature":9}})", "invalid_argument"}};
  for (const auto& [text, code] : cases) {
    client.send(text);
    const boost::json::object event = client.event();
    ASSERT_FALSE(event.empty()) << text;
    EXPECT_EQ(event.at("type").as_string(), "error");
    EXPECT_EQ(event.at("error").at("code").as_string(), code) << text;
  }
  client.send(R"({"type":"ping","id":"p"})");
  const boost::json::object pong = client.event();
  EXPECT_EQ(pong.at("type").as_string(), "pong");
  EXPECT_EQ(pong.at("id").as_string(), "p");
  EXPECT_TRUE(service_.requests().empty());
}

TEST_F(WebSocketTest, UpgradeIsRefusedWithAPlainAnswer) {
  start();
  EXPECT_EQ(WsClient(address(), "/v1/sessions/s_999/ws").status(), 404);
  const RawResponse plain = ask("GET", path_);
  EXPECT_EQ(plain.status, 426);
  RawClient foreign(address());
  foreign.send(request_text("GET", path_, "",
                            "Origin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
  EXPECT_EQ(foreign.response().status, 403);
}

TEST_F(WebSocketTest, OneAnswerAtATimeAndCancel) {
  start();
  std::atomic<int> cancelled_count{0};
  service_.set_script([&](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    for (int i = 0; i < 2000; ++i) {
      if (!sink.on_delta("x")) {
        ++cancelled_count;
        return sink.on_error(cancelled("the client went away"));
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
    sink.on_done(ScriptedService::result("x"));
  });
  WsClient client(address(), path_);
  client.send(kAsk);
  EXPECT_EQ(client.type(), "start");
  client.send(R"({"type":"message","content":"more","id":"q2"})");
  boost::json::object event = client.event();
  while (event.at("type") == "delta") event = client.event();
  EXPECT_EQ(event.at("error").at("code").as_string(), "busy");
  EXPECT_EQ(event.at("id").as_string(), "q2");
  client.send(R"({"type":"cancel"})");
  event = client.event();
  while (event.at("type") == "delta") event = client.event();
  EXPECT_EQ(event.at("error").at("code").as_string(), "cancelled");
  EXPECT_EQ(event.at("id").as_string(), "q1");
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_EQ(cancelled_count, 1);
}

TEST_F(WebSocketTest, LeavingCancelsTheAnswer) {
  start();
  std::atomic<bool> refused{false};
  service_.set_script([&](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    for (int i = 0; i < 2000 && !refused; ++i) {
      refused = !sink.on_delta("x");
      std::this_thread::sleep_for(milliseconds(5));
    }
    sink.on_error(cancelled("the client went away"));
  });
  WsClient client(address(), path_);
  client.send(kAsk);
  EXPECT_EQ(client.type(), "start");
  client.drop();
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(refused);
}

TEST_F(WebSocketTest, SlowReaderIsClosedWith1008AndNobodyWaitsForIt) {
  options_.ws_max_buffer_bytes = 64 * 1024;
  start();
  std::atomic<bool> refused{false};
  service_.set_script([&](const ChatRequest& request, ChatSink& sink) {
    sink.on_start(-1);
    if (request.messages.back().text == "Hi") {
      const std::string piece(16 * 1024, 'x');
      for (int i = 0; i < 20'000 && !refused; ++i) {
        refused = !sink.on_delta(piece);
        std::this_thread::sleep_for(milliseconds(1));
      }
      return sink.on_error(cancelled("the client went away"));
    }
    sink.on_delta("quick");
    sink.on_done(ScriptedService::result("quick"));
  });
  WsClient slow(address(), path_, "", 4096);
  slow.send(kAsk);
  EXPECT_TRUE(service_.wait_ended(1));
  EXPECT_TRUE(refused);
  WsClient quick(address(), path_);
  quick.send(R"({"type":"message","content":"quick?"})");
  EXPECT_EQ(quick.type(), "start");
  EXPECT_EQ(quick.type(), "delta");
  EXPECT_EQ(quick.type(), "done");
  // Once it reads again, it learns why.
  EXPECT_EQ(slow.close_code(), 1008);
}

TEST_F(WebSocketTest, ErrorsOfTheServiceAreEvents) {
  start();
  WsClient client(address(), path_);
  service_.set_failure(resource_exhausted("too many requests are waiting"));
  client.send(kAsk);
  EXPECT_EQ(client.event().at("error").at("code").as_string(), "queue_full");
  service_.set_failure(ok_status());
  service_.set_script([](const ChatRequest&, ChatSink& sink) {
    sink.on_start(-1);
    sink.on_error(internal_error("the engine failed"));
  });
  client.send(kAsk);
  EXPECT_EQ(client.type(), "start");
  const boost::json::object event = client.event();
  EXPECT_EQ(event.at("error").at("message").as_string(), "the engine failed");
  EXPECT_EQ(event.at("id").as_string(), "q1");
}

TEST_F(WebSocketTest, CloseCodesSayWhy) {
  options_.max_body_bytes = 2048;
  start();
  WsClient binary(address(), path_);
  binary.send_binary();
  EXPECT_EQ(binary.close_code(), 1003);
  WsClient garbled(address(), path_);
  garbled.send("\xFF\xFE");
  EXPECT_EQ(garbled.close_code(), 1007);
  WsClient large(address(), path_);
  large.send(std::string(4096, ' '));
  EXPECT_EQ(large.close_code(), 1009);
}

TEST_F(WebSocketTest, DrainFinishesTheAnswerAndCloses1012) {
  start();
  WsClient client(address(), path_);
  client.send(kAsk);
  EXPECT_EQ(client.type(), "start");
  server_->begin_drain();
  service_.drain(1000);
  auto finished = std::async(std::launch::async, [&] { server_->finish(milliseconds(3000)); });
  std::string last;
  for (std::string type = client.type(); !type.empty(); type = client.type()) last = type;
  EXPECT_EQ(last, "done");
  EXPECT_EQ(client.close_code(), 1012);
  finished.get();
}

TEST_F(WebSocketTest, QuietPeersArePinged) {
  options_.ws_ping_interval = milliseconds(100);
  start();
  // Reading answers the pings, so this one outlives many intervals of silence.
  service_.set_script([](const ChatRequest&, ChatSink& sink) {
    std::this_thread::sleep_for(milliseconds(800));
    sink.on_start(-1);
    sink.on_done(ScriptedService::result(""));
  });
  WsClient client(address(), path_);
  client.send(kAsk);
  EXPECT_EQ(client.type(), "start");
  EXPECT_EQ(client.type(), "done");
  // One that never answers is dropped.
  RawClient dead(address());
  dead.send(request_text("GET", path_, "",
                         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
  EXPECT_THAT(dead.read_until("\r\n\r\n"), HasSubstr("101"));
  EXPECT_THAT(dead.read_until("\x89"), HasSubstr("\x89"));
  dead.read_to_end();
  EXPECT_TRUE(dead.at_end());
}

TEST_F(WebSocketTest, HalfClosedPeerEndsTheConnection) {
  start();
  RawClient client(address());
  client.send(request_text("GET", path_, "",
                           "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
  EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("101"));
  client.end_sending();
  client.read_to_end();
  EXPECT_TRUE(client.at_end());
}

}  // namespace
}  // namespace recalld::api
