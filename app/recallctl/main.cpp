// recallctl: talk to a recalld from the command line.

#include <CLI/CLI.hpp>
#include <clocale>
#include <cstdio>
#include <fstream>
#include <functional>

#include "app/recallctl/calibrate_command.h"
#include "app/recallctl/commands.h"
#include "app/recallctl/exit_code.h"

namespace recalld::recallctl {
namespace {

constexpr const char* kDefaultServer = "http://127.0.0.1:8642";

struct Options {
  std::string server = kDefaultServer;
  std::string key, key_file;
  bool json = false;
  ImportOptions import{.style = "auto"};
  Question question;
  int64_t seed = -1;
  bool forget = false;
  ChatOptions chat;
  std::string session, backup_path;
  CalibrateOptions calibrate;
  bool no_wait = false, watch = false, wait = false, evidence = false;
};

Result<std::string> key_of(const Options& options) {
  if (options.key_file.empty()) return options.key;
  std::ifstream file(options.key_file);
  std::string key;
  if (!file || !(file >> key)) return invalid_argument("cannot read a key from " + options.key_file);
  return key;
}

Result<Api> connect(const Options& options) {
  RECALLD_ASSIGN_OR_RETURN(Address address, parse_address(options.server));
  RECALLD_ASSIGN_OR_RETURN(std::string key, key_of(options));
  return Api(HttpClient(std::move(address), std::move(key)));
}

using Command = std::function<Status(const Api&, Options&)>;

void add_sampling(CLI::App* command, int64_t* max_tokens, double* temperature) {
  command->add_option("--max-tokens", *max_tokens, "Longest answer, in tokens")->check(CLI::PositiveNumber);
  command->add_option("--temperature", *temperature, "0 takes the likeliest token each time")->check(CLI::Range(0, 2));
}

void add_conversation_commands(CLI::App* app, Options* options, Command* chosen) {
  CLI::App* importing = app->add_subcommand("import", "Store a conversation and read it into memory");
  importing->add_option("file", options->import.file, "NDJSON or LoCoMo JSON file; - is standard input")->required();
  CLI::Option* into = importing->add_option("--session", options->import.session, "Append to this session");
  importing->add_option("--title", options->import.title, "Title of the new session")->excludes(into);
  importing->add_option("--style", options->import.style, "How turns are written for the model")
      ->check(CLI::IsMember({"auto", "template", "plain"}))
      ->capture_default_str()
      ->excludes(into);
  importing->add_flag("--no-wait", options->no_wait, "Return as soon as the messages are stored");
  importing->callback([=] {
    *chosen = [](const Api& api, Options& given) {
      given.import.wait = !given.no_wait;
      return import_command(api, given.import, given.json);
    };
  });

  CLI::App* ask = app->add_subcommand("ask", "Ask one question and stream the answer");
  ask->add_option("session", options->question.session, "Session id")->required();
  ask->add_option("question", options->question.text, "What to ask")->required();
  add_sampling(ask, &options->question.max_tokens, &options->question.temperature);
  ask->add_option("--seed", options->seed, "Same seed, same answer")->check(CLI::NonNegativeNumber);
  ask->add_flag("--forget", options->forget, "Do not add the question and the answer to the session");
  ask->add_flag("--evidence", options->evidence, "Show the messages that were chosen for the question");
  ask->callback([=] {
    *chosen = [](const Api& api, Options& given) {
      given.question.remember = !given.forget;
      if (given.seed >= 0) given.question.seed = given.seed;
      return ask_command(api, given.question, given.evidence, given.json);
    };
  });

  CLI::App* chat = app->add_subcommand("chat", "Chat in the terminal");
  chat->add_option("session", options->chat.session, "Session id; a new session without it");
  add_sampling(chat, &options->chat.max_tokens, &options->chat.temperature);
  chat->add_flag("--evidence", options->chat.evidence, "After each answer, the messages that were chosen for it");
  chat->callback([=] { *chosen = [](const Api& api, Options& given) { return chat_command(api, given.chat); }; });
}

void add_store_commands(CLI::App* app, Options* options, Command* chosen) {
  app->add_subcommand("sessions", "List the sessions")->callback([=] {
    *chosen = [](const Api& api, Options& given) { return sessions_command(api, given.json); };
  });

  CLI::App* memory = app->add_subcommand("memory", "What a session remembers: totals, timeline, episodes");
  memory->add_option("session", options->session, "Session id")->required();
  CLI::Option* watch = memory->add_flag("--watch", options->watch, "Again every second");
  memory->add_flag("--wait", options->wait, "Wait until all is in memory, showing the progress")->excludes(watch);
  memory->callback([=] {
    *chosen = [](const Api& api, Options& given) {
      if (given.wait) return wait_command(api, given.session, given.json);
      return memory_command(api, given.session, given.watch, given.json);
    };
  });

  CLI::App* remove = app->add_subcommand("delete", "Delete a session and its memory");
  remove->add_option("session", options->session, "Session id")->required();
  remove->callback(
      [=] { *chosen = [](const Api& api, Options& given) { return remove_command(api, given.session, given.json); }; });

  app->add_subcommand("verify", "Check both stores, every page included")->callback([=] {
    *chosen = [](const Api& api, Options& given) { return verify_command(api, given.json); };
  });

  CLI::App* backup = app->add_subcommand("backup", "Copy the transcripts to a new file on the daemon's machine");
  backup->add_option("path", options->backup_path, "The new file")->required();
  backup->callback([=] {
    *chosen = [](const Api& api, Options& given) { return backup_command(api, given.backup_path, given.json); };
  });
}

// Needs no daemon.
CLI::App* add_calibrate(CLI::App* app, CalibrateOptions* options) {
  CLI::App* calibrate = app->add_subcommand(
      "calibrate", "Measure a model once, for the codecs calibrated-*, turboquant-2.5, -3.5 and oscar-2");
  calibrate->add_option("model", options->model, "GGUF file of the model")->required();
  calibrate->add_option("--text", options->texts, "Text, NDJSON or LoCoMo JSON files to measure it on")
      ->delimiter(',')
      ->default_str("a story and a conversation that are built in");
  calibrate->add_option("--out", options->out, "The file to write, or with a slash at its end the folder for it")
      ->default_str("where a daemon with its default memory.data_dir looks for it");
  calibrate->add_flag("--keep", options->keep, "Do nothing where the model's calibration is there");
  calibrate
      ->add_option("--oscar-rotations", options->oscar_rotations,
                   "OSCAR's published rotations of the model for oscar-2: the file of keys, then that of values")
      ->expected(2)
      ->default_str("measured like the rest");
  calibrate->add_option("--threads", options->threads, "Threads to compute with")->check(CLI::Range(1, 1024));
  calibrate->add_option("--tokens", options->max_tokens, "Most tokens that are read")->check(CLI::Range(1024, 1 << 20));
  return calibrate;
}

int finish(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return exit_code(status);
}

int run(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  CLI::App app("recallctl: talk to a recalld");
  Options options;
  Command command;
  app.fallthrough();
  app.require_subcommand(1);
  app.add_option("--server", options.server, "http://HOST:PORT or unix:/path/of/socket")
      ->envname("RECALLD_SERVER")
      ->capture_default_str();
  CLI::Option* key = app.add_option("--key", options.key, "API key")->envname("RECALLD_KEY");
  app.add_option("--key-file", options.key_file, "File with the API key: other users see command lines")->excludes(key);
  app.add_flag("--json", options.json, "Results as JSON, for programs");
  add_conversation_commands(&app, &options, &command);
  add_store_commands(&app, &options, &command);
  const CLI::App* calibrate = add_calibrate(&app, &options.calibrate);
  app.footer(
      "Exit codes: 0 done, 1 refused, 2 wrong options, 3 no daemon there, 4 no or wrong key, 5 no such session,\n"
      "6 verify found damage, 130 interrupted.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (calibrate->parsed()) return finish(calibrate_command(options.calibrate));
  auto api = connect(options);
  if (!api.ok()) {
    std::fprintf(stderr, "error: %s\n", api.status().message().c_str());
    return kExitUsage;
  }
  return finish(command(*api, options));
}

}  // namespace
}  // namespace recalld::recallctl

int main(int argc, char** argv) { return recalld::recallctl::run(argc, argv); }
