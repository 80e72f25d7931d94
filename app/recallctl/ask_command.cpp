#include <cstdio>

#include "app/recallctl/commands.h"
#include "app/recallctl/evidence.h"
#include "app/recallctl/recall_view.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

Status ask_command(const Api& api, const Question& question, bool evidence, bool json) {
  bool any = false;
  auto answer = api.ask(question, [&](const std::string& text) {
    if (json) return;
    any = true;
    std::fputs(printable(text).c_str(), stdout);
    std::fflush(stdout);
  });
  if (any) std::printf("\n");
  RECALLD_RETURN_IF_ERROR(answer.status());
  std::vector<Evidence> found;
  Status fetched;
  if (evidence) {
    auto result = fetch_evidence(api, answer->recall);
    fetched = result.status();
    if (result.ok()) found = std::move(*result);
  }
  if (json) {
    boost::json::object out{{"answer", answer->text},
                            {"finish_reason", answer->finish_reason},
                            {"first_text_ms", answer->first_text_ms},
                            {"recall", answer->recall}};
    if (evidence) out["evidence"] = evidence_json(found);
    print_json(out);
    return fetched;
  }
  const Look look = stdout_look();
  std::printf("\n");
  if (const std::string summary = recall_summary(answer->recall, look); !summary.empty())
    std::printf("%s\n", summary.c_str());
  std::printf("[%s]\n", recall_line(answer->recall).c_str());
  if (evidence && fetched.ok()) std::printf("\n%s", evidence_text(found, look).c_str());
  return fetched;
}

}  // namespace recalld::recallctl
