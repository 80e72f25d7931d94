// The daemon's routes (docs/http.md) as functions. Values stay JSON: recallctl shows what the daemon says, new fields
// included.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "app/recallctl/http_client.h"

namespace recalld::recallctl {

struct Question {
  std::string session;  // empty: stateless
  std::string text;
  int64_t max_tokens = 0;             // 0: until the model stops
  double temperature = -1;            // below 0: the daemon's default
  boost::json::value seed = nullptr;  // an integer, or null for random
  bool remember = true;
};

struct Answer {
  std::string text;
  std::string finish_reason;
  boost::json::object recall;  // empty when the stream was cut before its end
  double first_text_ms = 0;    // from sending to the first piece of text, as this side saw it
};

struct TurnPage {
  boost::json::array turns;
  int64_t next = -1;  // index to go on with; -1 at the end
};

class Api {
 public:
  explicit Api(HttpClient client) : client_(std::move(client)) {}

  const Address& address() const { return client_.address(); }

  Result<boost::json::object> create_session(const std::string& title, const std::string& style) const;
  Result<boost::json::array> sessions() const;
  Result<boost::json::object> session(const std::string& id) const;
  Result<boost::json::object> memory(const std::string& id) const;
  // limit: 1 to 1000.
  Result<TurnPage> turns(const std::string& id, int64_t first, int64_t limit) const;
  Result<boost::json::object> remove_session(const std::string& id) const;
  // content_type as docs/http.md, "Import".
  Result<boost::json::object> import(const std::string& id, std::string body, const std::string& content_type) const;
  Result<boost::json::object> backup(const std::string& path) const;
  Result<boost::json::object> verify() const;

  // Streams the answer; on_text gets each piece. kCancelled on Ctrl-C.
  Result<Answer> ask(const Question& question, const std::function<void(const std::string& text)>& on_text) const;

 private:
  Result<boost::json::object> call_object(const Request& request) const;

  HttpClient client_;
};

// Fields of an answer, with a default when missing or of another type.
int64_t int_of(const boost::json::object& object, const char* name, int64_t otherwise = 0);
double number_of(const boost::json::object& object, const char* name, double otherwise = 0);
std::string string_of(const boost::json::object& object, const char* name, const std::string& otherwise = "");
// RFC 3339 as Unix milliseconds.
std::optional<int64_t> time_of(const boost::json::object& object, const char* name);
// Empty when missing; valid as long as the object is.
const boost::json::array& array_of(const boost::json::object& object, const char* name);

}  // namespace recalld::recallctl
