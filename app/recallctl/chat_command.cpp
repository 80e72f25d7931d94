#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>

#include "app/recallctl/commands.h"
#include "app/recallctl/evidence.h"
#include "app/recallctl/line_editor.h"
#include "app/recallctl/recall_view.h"
#include "app/recallctl/terminal.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {
namespace {

constexpr const char* kHelp =
    "/memory    what this session remembers\n"
    "/evidence  the messages that the last answer was given because of the question\n"
    "/new       start a new session\n"
    "/help      this text\n"
    "/quit      leave (Ctrl-D does too)\n"
    "Ctrl-C stops an answer. Everything else is said to the model.\n";

class Chat {
 public:
  Chat(const Api& api, const ChatOptions& options) : api_(api), options_(options), session_(options.session) {}

  Status start() {
    if (session_.empty()) return open_new();
    RECALLD_ASSIGN_OR_RETURN(const boost::json::object session, api_.session(session_));
    std::printf("session %s, %s turns; /help tells more\n", session_.c_str(),
                count_text(int_of(session, "turn_count")).c_str());
    return ok_status();
  }

  // False: leave.
  bool take(const std::string& line) {
    if (line.find_first_not_of(" \t") == std::string::npos) return true;
    if (line == "/quit") return false;
    if (line == "/help")
      std::printf("%s", kHelp);
    else if (line == "/new")
      show(open_new());
    else if (line == "/memory")
      show(memory_command(api_, session_, false, false));
    else if (line == "/evidence")
      show(evidence());
    else if (line.starts_with('/'))
      std::printf("unknown command %s\n%s", printable(line).c_str(), kHelp);
    else
      show(answer(line));
    std::fflush(stdout);
    return true;
  }

 private:
  Status open_new() {
    RECALLD_ASSIGN_OR_RETURN(const boost::json::object created, api_.create_session("chat", ""));
    session_ = string_of(created, "id");
    recall_ = {};
    std::printf("new session %s; /help tells more\n", session_.c_str());
    return ok_status();
  }

  Status answer(const std::string& text) {
    Question question;
    question.session = session_;
    question.text = text;
    question.max_tokens = options_.max_tokens;
    question.temperature = options_.temperature;
    const auto answer = api_.ask(question, [](const std::string& piece) {
      std::fputs(printable(piece).c_str(), stdout);
      std::fflush(stdout);
    });
    std::printf("\n");
    RECALLD_RETURN_IF_ERROR(answer.status());
    recall_ = answer->recall;
    if (const std::string summary = recall_summary(recall_, stdout_look()); !summary.empty())
      std::printf("%s\n", summary.c_str());
    std::printf("[%s]\n", recall_line(recall_).c_str());
    return options_.evidence ? evidence() : ok_status();
  }

  Status evidence() const {
    if (recall_.empty()) return failed_precondition("there is no answer yet; ask something first");
    RECALLD_ASSIGN_OR_RETURN(const std::vector<Evidence> found, fetch_evidence(api_, recall_));
    std::printf("%s", evidence_text(found, stdout_look()).c_str());
    return ok_status();
  }

  static void show(const Status& status) {
    if (status.ok()) return;
    if (status.code() == StatusCode::kCancelled)
      std::printf("[stopped]\n");
    else
      std::printf("error: %s\n", printable(status.message()).c_str());
  }

  const Api& api_;
  const ChatOptions& options_;
  std::string session_;
  boost::json::object recall_;  // of the last answer; empty before it
};

}  // namespace

Status chat_command(const Api& api, const ChatOptions& options) {
  // A Ctrl-C that comes just after the answer it was meant for must not end the program: as long as this set exists the
  // signal has no other effect than what an answer in progress makes of it.
  boost::asio::io_context io;
  boost::asio::signal_set interrupts(io);
  if (stdin_is_terminal()) interrupts.add(SIGINT);
  Chat chat(api, options);
  RECALLD_RETURN_IF_ERROR(chat.start());
  std::fflush(stdout);
  const auto lines = make_line_editor();
  while (const auto line = lines->read("> "))
    if (!chat.take(*line)) return ok_status();
  if (stdin_is_terminal()) std::printf("\n");
  return ok_status();
}

}  // namespace recalld::recallctl
