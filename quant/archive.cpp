#include "quant/archive.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "quant/archive_side.h"
#include "quant/chunk_head.h"
#include "quant/none16.h"
#include "quant/page_headers.h"

namespace recalld::quant {
namespace {

using archive::SideCode;

constexpr uint32_t kMagic = 0x31415252;  // "RRA1"
constexpr uint16_t kVersion = 1;
constexpr archive::StepRule kKeyRule = archive::StepRule::kBySide, kValueRule = archive::StepRule::kByRow;
constexpr uint64_t kFlipSeed = 0x6172'6368'6976'6521u;

// Byte for byte what stands at the beginning (docs/archive-format.md).
struct Head {
  uint32_t magic;
  uint16_t version;
  uint16_t reserved;
  uint64_t checksum;  // of everything after it
  uint64_t resident_bytes;
  uint32_t n_pages;
  uint32_t header_bytes;
  uint32_t rope_dims;  // 0: without
  uint32_t neox;
};
static_assert(sizeof(Head) == 40);

Status corrupt_archive(const std::string& what) { return corrupt("archive: " + what); }

size_t numbers_of(const PageMeta& meta) {
  return static_cast<size_t>(meta.n_tokens) * static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
}

// Keys to the positions before RoPE (-1), or back to theirs (1).
void turn(const kernels::RopeSpec& rope, const PageMeta& meta, int direction, std::vector<float>& keys) {
  kernels::rotate_tokens(rope, meta.n_tokens, meta.rope_start, direction, meta.n_kv_heads, meta.head_dim, keys.data());
}

std::vector<float> rotated(const kernels::SignFlips& flips, const PageMeta& meta, const std::vector<float>& rows) {
  std::vector<float> out(rows.size());
  kernels::hadamard(flips, meta.head_dim, meta.n_tokens * meta.n_kv_heads, rows.data(),
                    static_cast<size_t>(meta.head_dim), out.data());
  return out;
}

class Writer {
 public:
  static constexpr bool kReads = false;
  void symbol(const RansTable& table, const uint32_t& symbol) { encoder_.put(table.ranges[symbol]); }
  void bits(const uint32_t& value, int n_bits) { encoder_.put_bits(value, n_bits); }
  void finish(std::vector<std::byte>& out) const { encoder_.finish(out); }

 private:
  RansEncoder encoder_;
};

class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(std::span<const std::byte> stream) : decoder_(stream) {}
  void symbol(const RansTable& table, uint32_t& symbol) { symbol = decoder_.get(table); }
  void bits(uint32_t& value, int n_bits) { value = decoder_.get_bits(n_bits); }
  bool overrun() const { return decoder_.overrun(); }
  bool finish() const { return decoder_.finish(); }

 private:
  RansDecoder decoder_;
};

Status check_options(const ArchiveOptions& options) {
  for (const double error : {options.key_error, options.value_error})
    if (!(error >= 1e-6 && error <= 0.5))
      return invalid_argument("an archive's error of " + std::to_string(error) + ", expected 1e-6 to 0.5");
  if (!options.rope) return ok_status();
  const kernels::RopeSpec& rope = *options.rope;
  if (rope.n_dims < 2 || rope.n_dims > kernels::kMaxHeadDim || rope.n_dims % 2 != 0 ||
      rope.inv_freq.size() != static_cast<size_t>(rope.n_dims) / 2 ||
      !std::ranges::all_of(rope.inv_freq, [](float x) { return std::isfinite(x); }))
    return invalid_argument("an archive's rope of " + std::to_string(rope.n_dims) + " dims");
  return ok_status();
}

void append(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

Result<Head> read_head(std::span<const std::byte> archive) {
  const Result<Head> head = quant::read_head<Head>(archive, kMagic, kVersion);
  if (!head.ok()) return head.status().with_context("archive");
  if (head->rope_dims > kernels::kMaxHeadDim || head->rope_dims % 2 != 0 || head->neox > 1)
    return corrupt_archive("rope of " + std::to_string(head->rope_dims) + " dims, kind " + std::to_string(head->neox));
  return head;
}

// The rows that a side's code stands for.
Result<std::vector<float>> rows_of(const SideCode& code, const PageMeta& meta, const kernels::SignFlips& flips,
                                   const kernels::RopeSpec& rope) {
  std::vector<float> rows(numbers_of(meta));
  const auto dims = static_cast<size_t>(meta.head_dim);
  for (size_t h = 0; h < code.heads.size(); ++h) {
    const archive::HeadCode& head = code.heads[h];
    const float side = archive::power(head.step - archive::kStepBias);
    for (size_t t = 0; t < head.row_steps.size(); ++t) {
      const float step = head.row_steps[t] == archive::kZeroRow ? 0.0F : side * archive::row_step(head.row_steps[t]);
      float* to = rows.data() + (t * code.heads.size() + h) * dims;
      for (size_t j = 0; j < dims; ++j) to[j] = static_cast<float>(head.indices[t * dims + j]) * step;
    }
  }
  if (code.basis == archive::kRotated)
    kernels::inverse_hadamard(flips, meta.head_dim, meta.n_tokens * meta.n_kv_heads, rows.data());
  if (code.basis == archive::kUnturned) {
    if (rope.n_dims == 0 || rope.n_dims > meta.head_dim) return corrupt_archive("keys are turned back without a rope");
    turn(rope, meta, 1, rows);
  }
  for (float& x : rows) x = std::isfinite(x) ? std::clamp(x, -kLargestHalf, kLargestHalf) : 0.0F;
  return rows;
}

Status decode_side(int side, const PageMeta& meta, archive::Walk<Reader>& walk, SideCode& code) {
  code.heads.resize(static_cast<size_t>(meta.n_kv_heads));
  if (!walk.side(side, meta.n_tokens, meta.head_dim, code))
    return corrupt_archive("basis " + std::to_string(code.basis) + " or learner " + std::to_string(code.learner) +
                           " of layer " + std::to_string(meta.layer) + " is not known");
  return ok_status();
}

SideCode encode_side(archive::SideEncoder& encoder, archive::StepRule rule, const PageMeta& meta,
                     const kernels::SignFlips& flips, const kernels::RopeSpec* rope, std::vector<float> rows) {
  for (float& x : rows)
    if (!std::isfinite(x)) x = 0;
  std::vector<float> bases[archive::kBases];
  bases[archive::kRotated] = rotated(flips, meta, rows);
  if (rope != nullptr) {
    bases[archive::kUnturned] = rows;
    turn(*rope, meta, -1, bases[archive::kUnturned]);
  }
  bases[archive::kPlain] = std::move(rows);
  return encoder.encode(rule, meta.n_tokens, meta.n_kv_heads, meta.head_dim, bases);
}

}  // namespace

Result<std::vector<std::byte>> encode_archive(std::span<const std::byte> pages, const ArchiveOptions& options) {
  RECALLD_RETURN_IF_ERROR(check_options(options));
  if (pages.empty()) return invalid_argument("an archive without pages");
  if (pages.size() > kMaxResidentBytes)
    return too_large("an archive of " + std::to_string(pages.size()) + " bytes; at most 512 MiB are taken");
  const None16 none16;
  const kernels::SignFlips flips = kernels::sign_flips(kFlipSeed);
  archive::SideEncoder keys(options.key_error), values(options.value_error);
  Writer writer;
  archive::Walk<Writer> walk(writer, NormalTables::get());
  std::vector<std::byte> headers;
  Head head{kMagic, kVersion, 0, 0, pages.size(), 0, 0, 0, 0};
  PageView before;
  for (std::span<const std::byte> left = pages; !left.empty(); ++head.n_pages) {
    RECALLD_ASSIGN_OR_RETURN(const PageView page, parse_page_prefix(left));
    const PageMeta& meta = page.meta;
    std::vector<float> k(numbers_of(meta)), v(numbers_of(meta));
    RECALLD_RETURN_IF_ERROR(none16.decode_page(page, k.data(), v.data()));
    const kernels::RopeSpec* rope = options.rope && options.rope->n_dims <= meta.head_dim ? &*options.rope : nullptr;
    SideCode code = encode_side(keys, kKeyRule, meta, flips, rope, std::move(k));
    walk.side(0, meta.n_tokens, meta.head_dim, code);
    code = encode_side(values, kValueRule, meta, flips, nullptr, std::move(v));
    walk.side(1, meta.n_tokens, meta.head_dim, code);
    append_header(headers, page, head.n_pages == 0 ? nullptr : &before);
    before = page;
    left = left.subspan(page.bytes.size());
  }
  head.header_bytes = static_cast<uint32_t>(headers.size());
  std::vector<std::byte> body;
  if (options.rope) {
    head.rope_dims = static_cast<uint32_t>(options.rope->n_dims);
    head.neox = options.rope->neox ? 1 : 0;
    append(body, std::as_bytes(std::span(options.rope->inv_freq)));
  }
  append(body, headers);
  writer.finish(body);
  return with_head(head, body);
}

Result<ArchiveOptions> archive_options(std::string_view name) {
  constexpr std::pair<std::string_view, double> kErrors[] = {
      {"archive-4", kLloydMax4Error}, {"archive-3", 0.03454}, {"archive-2", 0.1175}};
  for (const auto& [known, error] : kErrors)
    if (known == name) return ArchiveOptions{.key_error = 0.99 * error, .value_error = 0.99 * error};
  return invalid_argument("there is no archive '" + std::string(name) + "'; there are archive-4, archive-3, archive-2");
}

bool is_archive(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof kMagic && std::memcmp(bytes.data(), &kMagic, sizeof kMagic) == 0;
}

Result<ArchiveInfo> inspect_archive(std::span<const std::byte> archive) {
  RECALLD_ASSIGN_OR_RETURN(const Head head, read_head(archive));
  return ArchiveInfo{head.resident_bytes, static_cast<int>(head.n_pages)};
}

Status decode_archive(std::span<const std::byte> archive, std::span<std::byte> pages) {
  RECALLD_ASSIGN_OR_RETURN(const Head head, read_head(archive));
  if (pages.size() != head.resident_bytes)
    return invalid_argument("room for " + std::to_string(pages.size()) + " bytes where an archive needs " +
                            std::to_string(head.resident_bytes));
  const std::span<const std::byte> body = archive.subspan(sizeof head);
  kernels::RopeSpec rope{static_cast<int32_t>(head.rope_dims), head.neox != 0, std::vector<float>(head.rope_dims / 2)};
  const auto frequencies = std::as_writable_bytes(std::span(rope.inv_freq));
  if (body.size() < frequencies.size() || body.size() - frequencies.size() < head.header_bytes)
    return corrupt_archive("its page headers end early");
  if (!frequencies.empty()) std::memcpy(frequencies.data(), body.data(), frequencies.size());
  std::span<const std::byte> headers = body.subspan(frequencies.size(), head.header_bytes);
  Reader reader(body.subspan(frequencies.size() + head.header_bytes));
  const None16 none16;
  archive::Walk<Reader> walk(reader, NormalTables::get());
  const kernels::SignFlips flips = kernels::sign_flips(kFlipSeed);
  PageView before;
  for (uint32_t i = 0; i < head.n_pages; ++i) {
    const auto page = next_page(headers, i == 0 ? nullptr : &before, pages);
    if (!page.ok()) return page.status().with_context("archive");
    if (page->codec != none16.tag()) return corrupt_archive("a page is not of none16");
    const PageMeta meta = page->meta;
    SideCode k_code, v_code;
    RECALLD_RETURN_IF_ERROR(decode_side(0, meta, walk, k_code));
    RECALLD_RETURN_IF_ERROR(decode_side(1, meta, walk, v_code));
    if (reader.overrun()) return corrupt_archive("its numbers end early");
    RECALLD_ASSIGN_OR_RETURN(const std::vector<float> k, rows_of(k_code, meta, flips, rope));
    RECALLD_ASSIGN_OR_RETURN(const std::vector<float> v, rows_of(v_code, meta, flips, rope));
    RECALLD_RETURN_IF_ERROR(none16.encode_page(meta, k.data(), v.data(), pages.first(page->bytes.size())));
    before = *page;
    pages = pages.subspan(page->bytes.size());
  }
  if (!headers.empty() || !pages.empty() || !reader.finish()) return corrupt_archive("its parts do not add up");
  return ok_status();
}

}  // namespace recalld::quant
