#include "tests/service/service_fixture.h"

#include <cstdlib>
#include <thread>

namespace recalld::daemon {

void Collector::on_start(int64_t /*user_turn*/) {
  const std::lock_guard lock(mutex_);
  ++starts_;
}

bool Collector::on_delta(const std::string& text) {
  const std::lock_guard lock(mutex_);
  EXPECT_FALSE(text.empty());
  streamed_ += text;
  return stop_after_ == 0 || ++deltas_ < stop_after_;
}

void Collector::on_done(const ChatResult& result) {
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(++ends_, 1) << "an answer ends once";
  result_ = result;
  changed_.notify_all();
}

void Collector::on_error(const Status& status) {
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(++ends_, 1) << "an answer ends once";
  error_ = status;
  changed_.notify_all();
}

Result<ChatResult> Collector::wait() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::minutes(5), [&] { return ends_ > 0; }))
    return internal_error("no answer in five minutes");
  if (result_.has_value()) return *result_;
  return error_;
}

std::string Collector::streamed() const {
  const std::lock_guard lock(mutex_);
  return streamed_;
}

bool Collector::over() const {
  const std::lock_guard lock(mutex_);
  return ends_ > 0;
}

ServiceTest::ServiceTest() {
  std::string pattern = (std::filesystem::temp_directory_path() / "recalld-service-XXXXXX").string();
  directory_ = mkdtemp(pattern.data());
  const char* model = std::getenv("RECALLD_TEST_MODEL");
  options_.model_path = model != nullptr ? model : "";
  const char* encoder = std::getenv("RECALLD_TEST_ENCODER");
  options_.encoder_path = encoder != nullptr ? encoder : "";
  options_.data_dir = (directory_ / "data").string();
  options_.context = 2048;
  options_.block_tokens = 128;
  options_.page_tokens = 64;
  options_.recent_tokens = 64;
  options_.answer_reserve_tokens = 256;
  options_.catch_up_tokens = 512;
}

ServiceTest::~ServiceTest() {
  service_.reset();
  if (HasFailure())
    for (const std::string& event : log_) std::printf("log: %s\n", event.c_str());
  std::filesystem::remove_all(directory_);
}

void ServiceTest::reopen() {
  service_.reset();
  auto opened = open_service(options_, clock_, [this](LogLevel, const std::string& event) {
    const std::lock_guard lock(log_mutex_);
    log_.push_back(event);
  });
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  service_ = std::move(opened).value();
}

std::string ServiceTest::new_session(const std::string& style, const std::string& principal) {
  return service_->create_session(principal, "a test", style).value().id;
}

std::vector<Message> ServiceTest::talk(int turns, const std::string& secret) {
  std::vector<Message> messages;
  for (int i = 0; i < turns; ++i) {
    Message message;
    message.role = i % 2 == 0 ? "user" : "assistant";
    message.speaker = i % 2 == 0 ? "Ann" : "Ben";
    message.text = i == 3 ? "My door at number 41 is painted " + secret + "."
                          : "On day " + std::to_string(i) + " I walked " + std::to_string(3 * i + 2) +
                                " miles along the river and met some friends there.";
    message.time_ms = 1'700'000'000'000 + i * 60'000;
    messages.push_back(std::move(message));
  }
  return messages;
}

MemoryInfo ServiceTest::settle(const std::string& session, const std::string& principal) {
  // The test's own time limit comes first, on whatever machine and under whatever instrumentation.
  for (int i = 0; i < 12000; ++i) {
    const MemoryInfo info = service_->memory(principal, session).value();
    if (info.state == "ready" && info.tokens_pending == 0) return info;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ADD_FAILURE() << "the session was not read in twenty minutes";
  return {};
}

Result<ChatResult> ServiceTest::ask(const std::string& session, const std::string& question, int max_tokens,
                                    bool remember, const std::string& principal) {
  ChatRequest request;
  request.principal = principal;
  request.session = session;
  request.messages.push_back({"user", "", question, std::nullopt});
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  request.remember = remember;
  const auto sink = std::make_shared<Collector>();
  RECALLD_RETURN_IF_ERROR(service_->chat(std::move(request), sink));
  auto result = sink->wait();
  if (result.ok()) {
    EXPECT_EQ(sink->streamed(), result->text);
  }
  return result;
}

}  // namespace recalld::daemon
