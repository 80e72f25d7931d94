// Server-sent events (WHATWG HTML, "9.2.6 Interpreting an event stream"), the part that answers use: the data of each
// event. Comments and other fields are skipped.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace recalld::recallctl {

class EventStream {
 public:
  explicit EventStream(std::function<void(const std::string& data)> on_event) : on_event_(std::move(on_event)) {}

  // Bytes as they arrive, cut anywhere. Calls on_event once for each complete event that has data.
  void feed(std::string_view bytes);

 private:
  void take_line(std::string_view line);

  std::function<void(const std::string&)> on_event_;
  std::string line_, data_;
  bool has_data_ = false;
};

}  // namespace recalld::recallctl
