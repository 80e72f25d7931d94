#include "quant/pickle.h"

#include <bit>
#include <cstring>
#include <map>

namespace recalld::quant {

namespace {

Status wrong(const std::string& what) { return corrupt("pickle: " + what); }
Status cut() { return wrong("it is cut"); }

}  // namespace

class PickleReader {
 public:
  explicit PickleReader(std::span<const std::byte> bytes) : left_(bytes) {}

  Result<Pickle> read() {
    while (true) {
      uint8_t operation = 0;
      RECALLD_RETURN_IF_ERROR(take(&operation));
      if (operation == '.') break;
      RECALLD_RETURN_IF_ERROR(step(operation));
    }
    if (stack_.size() != 1) return wrong("it ends with " + std::to_string(stack_.size()) + " objects, expected 1");
    pickle_.root_ = stack_.front();
    return std::move(pickle_);
  }

 private:
  using Kind = Pickle::Kind;
  using Object = Pickle::Object;

  template <class Number>
  Status take(Number* number) {
    if (left_.size() < sizeof *number) return cut();
    std::memcpy(number, left_.data(), sizeof *number);
    left_ = left_.subspan(sizeof *number);
    return ok_status();
  }

  template <class Length>
  Status take_text(std::string* text) {
    Length length = 0;
    RECALLD_RETURN_IF_ERROR(take(&length));
    if (left_.size() < length) return cut();
    text->assign(reinterpret_cast<const char*>(left_.data()), static_cast<size_t>(length));
    left_ = left_.subspan(static_cast<size_t>(length));
    return ok_status();
  }

  Status take_line(std::string* line) {
    for (size_t i = 0; i < left_.size(); ++i)
      if (left_[i] == std::byte{'\n'}) {
        line->assign(reinterpret_cast<const char*>(left_.data()), i);
        left_ = left_.subspan(i + 1);
        return ok_status();
      }
    return cut();
  }

  void push(Object object) {
    stack_.push_back(static_cast<int>(pickle_.objects_.size()));
    pickle_.objects_.push_back(std::move(object));
  }
  Status push_integer(int64_t value) {
    push({.kind = Kind::kInteger, .integer = value});
    return ok_status();
  }
  Status push_sequence(std::vector<int> parts) {
    push({.kind = Kind::kSequence, .parts = std::move(parts)});
    return ok_status();
  }

  // Takes the n topmost objects, the lowest first.
  Status pop(size_t n, std::vector<int>* to) {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() - floor < n) return wrong("an operation lacks its objects");
    to->assign(stack_.end() - static_cast<ptrdiff_t>(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return ok_status();
  }
  // Takes the objects above the last mark.
  Status pop_to_mark(std::vector<int>* to) {
    if (marks_.empty()) return wrong("an operation lacks its mark");
    RECALLD_RETURN_IF_ERROR(pop(stack_.size() - marks_.back(), to));
    marks_.pop_back();
    return ok_status();
  }

  // Adds to the container on top.
  Status extend(Kind kind, const std::vector<int>& parts) {
    std::vector<int> top;
    RECALLD_RETURN_IF_ERROR(pop(1, &top));
    stack_.push_back(top[0]);
    Object& object = pickle_.objects_[static_cast<size_t>(top[0])];
    // What is set in an object that is made by a call (an ordered dictionary) is of no use here.
    if (object.kind == Kind::kCall) return ok_status();
    if (object.kind != kind || (kind == Kind::kDictionary && parts.size() % 2 != 0))
      return wrong("an operation adds to what takes nothing");
    object.parts.insert(object.parts.end(), parts.begin(), parts.end());
    return ok_status();
  }

  Status remember(uint32_t slot) {
    if (stack_.empty()) return wrong("an operation lacks its objects");
    memo_[slot] = stack_.back();
    return ok_status();
  }
  Status recall(uint32_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) return wrong("it refers to an object that was not there");
    stack_.push_back(found->second);
    return ok_status();
  }

  // A number of so many bytes, read as Number, goes to `use`.
  template <class Number, class Use>
  Status with(const Use& use) {
    Number number = 0;
    RECALLD_RETURN_IF_ERROR(take(&number));
    return use(number);
  }

  Status push_real() {
    return with<uint64_t>([this](uint64_t bits) {
      push({.kind = Kind::kReal, .real = std::bit_cast<double>(__builtin_bswap64(bits))});
      return ok_status();
    });
  }

  Status push_long() {
    std::string digits;
    RECALLD_RETURN_IF_ERROR(take_text<uint8_t>(&digits));
    if (digits.size() > sizeof(int64_t)) return unsupported("pickle: an integer of more than 64 bits");
    const bool negative = !digits.empty() && (static_cast<uint8_t>(digits.back()) & 0x80) != 0;
    int64_t value = negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return push_integer(value);
  }

  template <class Length>
  Status push_text() {
    std::string text;
    RECALLD_RETURN_IF_ERROR(take_text<Length>(&text));
    push({.kind = Kind::kText, .text = std::move(text)});
    return ok_status();
  }

  Status push_global() {
    std::string module, name;
    RECALLD_RETURN_IF_ERROR(take_line(&module));
    RECALLD_RETURN_IF_ERROR(take_line(&name));
    push({.kind = Kind::kGlobal, .text = module + " " + name});
    return ok_status();
  }

  Status push_stack_global() {
    std::vector<int> names;
    RECALLD_RETURN_IF_ERROR(pop(2, &names));
    push({.kind = Kind::kGlobal, .text = pickle_.at(names[0]).text + " " + pickle_.at(names[1]).text});
    return ok_status();
  }

  Status push_from(size_t n, Kind kind) {
    Object object{.kind = kind};
    RECALLD_RETURN_IF_ERROR(pop(n, &object.parts));
    push(std::move(object));
    return ok_status();
  }

  Status step(uint8_t operation) {
    std::vector<int> parts;
    switch (operation) {
      case 0x80:  // PROTO
        return with<uint8_t>([](uint8_t version) {
          return version >= 2 && version <= 4 ? ok_status()
                                              : unsupported("pickle: protocol " + std::to_string(version));
        });
      case 0x95:  // FRAME
        return with<uint64_t>([](uint64_t) { return ok_status(); });
      case '(':
        marks_.push_back(stack_.size());
        return ok_status();
      case 'N':
        push({});
        return ok_status();
      case 0x88:  // NEWTRUE, NEWFALSE
      case 0x89:
        return push_integer(operation == 0x88 ? 1 : 0);
      case 'J':
        return with<int32_t>([this](int32_t value) { return push_integer(value); });
      case 'K':
        return with<uint8_t>([this](uint8_t value) { return push_integer(value); });
      case 'M':
        return with<uint16_t>([this](uint16_t value) { return push_integer(value); });
      case 0x8a:
        return push_long();
      case 'G':
        return push_real();
      case 'X':
        return push_text<uint32_t>();
      case 0x8c:
        return push_text<uint8_t>();
      case '}':
        push({.kind = Kind::kDictionary});
        return ok_status();
      case ']':
      case ')':
        return push_sequence({});
      case 't':
        RECALLD_RETURN_IF_ERROR(pop_to_mark(&parts));
        return push_sequence(std::move(parts));
      case 0x85:  // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        return push_from(size_t{operation} - 0x84, Kind::kSequence);
      case 's':
        RECALLD_RETURN_IF_ERROR(pop(2, &parts));
        return extend(Kind::kDictionary, parts);
      case 'u':
        RECALLD_RETURN_IF_ERROR(pop_to_mark(&parts));
        return extend(Kind::kDictionary, parts);
      case 'a':
        RECALLD_RETURN_IF_ERROR(pop(1, &parts));
        return extend(Kind::kSequence, parts);
      case 'e':
        RECALLD_RETURN_IF_ERROR(pop_to_mark(&parts));
        return extend(Kind::kSequence, parts);
      case 'c':
        return push_global();
      case 0x93:
        return push_stack_global();
      case 'R':
        return push_from(2, Kind::kCall);
      case 'Q':
        return push_from(1, Kind::kReference);
      case 'b':  // BUILD: the state of an object that is not looked into
        return pop(1, &parts);
      case 'q':
        return with<uint8_t>([this](uint8_t slot) { return remember(slot); });
      case 'r':
        return with<uint32_t>([this](uint32_t slot) { return remember(slot); });
      case 0x94:
        return remember(static_cast<uint32_t>(memo_.size()));
      case 'h':
        return with<uint8_t>([this](uint8_t slot) { return recall(slot); });
      case 'j':
        return with<uint32_t>([this](uint32_t slot) { return recall(slot); });
      default:
        return unsupported("pickle: operation " + std::to_string(operation));
    }
  }

  std::span<const std::byte> left_;
  Pickle pickle_;
  std::vector<int> stack_;
  std::vector<size_t> marks_;
  std::map<uint32_t, int> memo_;
};

Result<Pickle> Pickle::parse(std::span<const std::byte> bytes) { return PickleReader(bytes).read(); }

const Pickle::Object* Pickle::find(const Object& object, std::string_view key) const {
  if (object.kind != Kind::kDictionary) return nullptr;
  const Object* found = nullptr;
  for (size_t i = 0; i + 1 < object.parts.size(); i += 2) {
    const Object& name = at(object.parts[i]);
    if (name.kind == Kind::kText && name.text == key) found = &at(object.parts[i + 1]);
  }
  return found;
}

}  // namespace recalld::quant
