// A real server on a free port in front of a scripted service.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <memory>
#include <sstream>
#include <string>

#include "api/server.h"
#include "base/clock.h"
#include "daemon/logging.h"
#include "tests/api/raw_client.h"
#include "tests/api/scripted_service.h"

namespace recalld::api {

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() : log_({daemon::LogLevel::kDebug}, clock_, std::make_shared<spdlog::sinks::ostream_sink_mt>(log_text_)) {
    options_.listen = {"127.0.0.1:0"};
    options_.random = [state = uint64_t{1}]() mutable { return state = state * 6364136223846793005ULL + 1442695ULL; };
  }

  ~ApiTest() override { stop(); }

  void start(bool open = true) {
    auto server = Server::start(options_, keys_, clock_, log_);
    ASSERT_TRUE(server.ok()) << server.status().to_string();
    server_ = std::move(*server);
    if (open) server_->open(service_);
  }

  void stop() {
    service_.drain(0);
    server_.reset();
  }

  std::string address() const { return server_->addresses().front(); }

  // One request on a connection of its own.
  RawResponse ask(std::string_view method, std::string_view path, std::string_view body = "",
                  std::string_view more = "") {
    RawClient client(address());
    client.send(request_text(method, path, body, more));
    return client.response(method == "HEAD");
  }

  static boost::json::object json(const RawResponse& response) {
    boost::system::error_code error;
    boost::json::value value = boost::json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return value.is_object() ? value.get_object() : boost::json::object();
  }

  static std::string field(const RawResponse& response, const char* name) {
    const boost::json::object body = json(response);
    const boost::json::value* error = body.if_contains("error");
    if (error == nullptr) return "no error: " + response.body;
    const boost::json::value& value = error->at(name);
    return value.is_null() ? "null" : std::string(value.as_string());
  }

  std::string new_session() {
    const RawResponse response = ask("POST", "/v1/sessions", "{}");
    EXPECT_EQ(response.status, 201);
    return std::string(json(response).at("id").as_string());
  }

  SystemClock clock_;
  std::ostringstream log_text_;
  daemon::Log log_;
  ServerOptions options_;
  KeyRing keys_;
  daemon::ScriptedService service_;
  std::unique_ptr<Server> server_;
};

inline constexpr std::string_view kQuestion = R"({"messages":[{"role":"user","content":"Hi"}]})";
inline constexpr std::string_view kStreamQuestion = R"({"messages":[{"role":"user","content":"Hi"}],"stream":true})";

}  // namespace recalld::api
