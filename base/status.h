// One error type for every room.
//
// A Status says what kind of thing went wrong (the code decides HTTP status, retry and exit code) and a sentence for a
// person: it names the thing and the remedy. Result<T> is a T or a Status. Exceptions are for programmer errors and
// for third-party code at the border, where they are turned into a Status at once.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace recalld {

enum class StatusCode {
  kOk,
  kInvalidArgument,     // the caller's input is wrong; the same call can never succeed
  kNotFound,            // the named thing does not exist
  kAlreadyExists,       // the named thing exists already
  kUnauthenticated,     // no or unknown key
  kPermissionDenied,    // known caller, not allowed
  kTooLarge,            // over a size limit or the model's window
  kResourceExhausted,   // a queue or quota is full; try again later
  kStorageFull,         // the disk is full or read-only; reads still work
  kFailedPrecondition,  // the state does not allow it (a lock held, a schema too new)
  kCorrupt,             // stored bytes fail their checksum or make no sense
  kUnsupported,         // a valid request this build or model cannot serve
  kCancelled,           // the caller went away or the daemon is draining
  kUnavailable,         // not now: starting, draining, or a part has failed
  kInternal,            // a defect of ours
};

// Stable lower-case name, for logs and JSON ("invalid_argument").
std::string_view status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // "invalid_argument: message", or "ok".
  std::string to_string() const;

  // The same error with "context: " in front of the message.
  Status with_context(std::string_view context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status ok_status() { return {}; }
Status invalid_argument(std::string message);
Status not_found(std::string message);
Status already_exists(std::string message);
Status too_large(std::string message);
Status resource_exhausted(std::string message);
Status storage_full(std::string message);
Status failed_precondition(std::string message);
Status corrupt(std::string message);
Status unsupported(std::string message);
Status cancelled(std::string message);
Status unavailable(std::string message);
Status internal_error(std::string message);

// A value or the reason why there is none. value() on an error is a programmer error and throws
// std::bad_variant_access.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}  // NOLINT: implicit on purpose

  bool ok() const { return state_.index() == 0; }
  Status status() const { return ok() ? Status() : std::get<1>(state_); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  // By value, so that a loop over the result of a call does not dangle.
  T value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace recalld

// Leaves the function with the error, if there is one.
#define RECALLD_RETURN_IF_ERROR(expression)                                                 \
  do {                                                                                      \
    if (auto recalld_status_ = (expression); !recalld_status_.ok()) return recalld_status_; \
  } while (false)

#define RECALLD_CONCAT_INNER(a, b) a##b
#define RECALLD_CONCAT(a, b) RECALLD_CONCAT_INNER(a, b)

// RECALLD_ASSIGN_OR_RETURN(auto file, open(path)): declares or assigns, or leaves the function with the error.
#define RECALLD_ASSIGN_OR_RETURN(target, expression) \
  RECALLD_ASSIGN_OR_RETURN_INNER(RECALLD_CONCAT(recalld_result_, __LINE__), target, expression)
#define RECALLD_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                      \
  if (!(result).ok()) return (result).status();                    \
  target = std::move(result).value()
