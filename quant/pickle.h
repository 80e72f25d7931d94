// Python pickles as data: what torch.save writes of dictionaries, numbers, strings and tensors. Nothing is called;
// where a pickle asks for a call, the call is what is returned. Protocols 2 to 4, as far as these need it. Source: the
// comments in CPython's pickletools.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace recalld::quant {

// The objects of a pickle, by their numbers: an object may be in several others, and in itself.
class Pickle {
 public:
  enum class Kind : uint8_t {
    kNone,
    kInteger,  // and booleans
    kReal,
    kText,
    kSequence,    // tuple or list: parts
    kDictionary,  // parts: key, value, key, value, ...
    kGlobal,      // "module name"
    kCall,        // parts: what is called, its arguments as one sequence
    kReference,   // to something outside of the pickle, by one object: parts
  };
  struct Object {
    Kind kind = Kind::kNone;
    int64_t integer = 0;
    double real = 0;
    std::string text;
    std::vector<int> parts;
  };

  // kCorrupt when the bytes are cut or make no sense, kUnsupported for an operation that is not known here. Objects are
  // at most as many as the bytes.
  static Result<Pickle> parse(std::span<const std::byte> bytes);

  const Object& root() const { return at(root_); }
  const Object& at(int number) const { return objects_[static_cast<size_t>(number)]; }
  // The value of a dictionary's key; nullptr when `object` is none or lacks it.
  const Object* find(const Object& object, std::string_view key) const;

 private:
  friend class PickleReader;
  std::vector<Object> objects_;
  int root_ = 0;
};

}  // namespace recalld::quant
