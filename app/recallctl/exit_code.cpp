#include "app/recallctl/exit_code.h"

namespace recalld::recallctl {

ExitCode exit_code(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kExitOk;
    case StatusCode::kUnavailable:
      return kExitUnreachable;
    case StatusCode::kUnauthenticated:
    case StatusCode::kPermissionDenied:
      return kExitUnauthenticated;
    case StatusCode::kNotFound:
      return kExitNotFound;
    case StatusCode::kCorrupt:
      return kExitDamaged;
    case StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

}  // namespace recalld::recallctl
