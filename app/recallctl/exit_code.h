// Exit codes of recallctl; scripts depend on them.
#pragma once

#include "base/status.h"

namespace recalld::recallctl {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,           // the daemon refused the request, or a file cannot be read
  kExitUsage = 2,            // wrong options
  kExitUnreachable = 3,      // no daemon there, or it is starting or draining
  kExitUnauthenticated = 4,  // no key, or an unknown one
  kExitNotFound = 5,         // no such session
  kExitDamaged = 6,          // verify found problems
  kExitInterrupted = 130     // Ctrl-C
};

ExitCode exit_code(const Status& status);

}  // namespace recalld::recallctl
