#include <cstdio>

#include "app/recallctl/commands.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

Status ask_command(const Api& api, const Question& question, bool json) {
  bool any = false;
  auto answer = api.ask(question, [&](const std::string& text) {
    if (json) return;
    any = true;
    std::fputs(printable(text).c_str(), stdout);
    std::fflush(stdout);
  });
  if (any) std::printf("\n");
  RECALLD_RETURN_IF_ERROR(answer.status());
  if (json)
    print_json(boost::json::object{{"answer", answer->text},
                                   {"finish_reason", answer->finish_reason},
                                   {"first_text_ms", answer->first_text_ms},
                                   {"recall", answer->recall}});
  else
    std::printf("\n[%s]\n", recall_line(answer->recall).c_str());
  return ok_status();
}

}  // namespace recalld::recallctl
