// A page: verified, decoded by its codec and by the kernels, attended to on one of the instruction sets, and coded for
// the disk and back.
#include <hwy/targets.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "kernels/decode.h"
#include "kernels/key_weights.h"
#include "quant/rest.h"
#include "tests/fuzz/exact_buffer.h"
#include "tests/fuzz/page_bytes.h"

namespace recalld::testing {
namespace {

constexpr int kQueries = 5, kGroup = 2;

// Makes the kernels run on the instruction set of this number, of those that there are.
void use_target(size_t number) {
  static const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  const int64_t target = targets[number % targets.size()];
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(target);
}

// One of the ways of attending to a page.
void attend(const quant::PageView& page, const kernels::PageSlice& slice, uint64_t way) {
  static const std::vector<float> queries = [] {
    std::vector<float> q(size_t{kQueries} * kGroup * kernels::kMaxHeadDim);
    for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i % 13) - 6.0F;
    return q;
  }();
  static kernels::AttendScratch scratch;
  const kernels::AttendShape shape{page.meta.head_dim, kGroup, 0.125F, page.meta.n_tokens % 3 == 0 ? 8 : 0};
  std::array<int32_t, kQueries> positions;
  for (int i = 0; i < kQueries; ++i) positions[static_cast<size_t>(i)] = page.meta.n_tokens - kQueries + i;
  if (way == 0) {
    std::vector<float> weights(static_cast<size_t>(page.meta.n_tokens));
    return kernels::key_weights(shape, {kQueries, positions.data(), queries.data()}, {&slice, 1},
                                kernels::WeightReduce::kMax, weights.data(), scratch);
  }
  std::array<float, size_t{kQueries} * kGroup> m, l;
  std::vector<float> acc(m.size() * static_cast<size_t>(page.meta.head_dim));
  const kernels::AttendState state{1, m.data(), l.data(), acc.data()};
  const int n = way == 1 ? kQueries : 1;
  kernels::reset_state(state, n * kGroup, page.meta.head_dim);
  const kernels::QueryBlock block{n, positions.data() + kQueries - n, queries.data()};
  (way == 1 ? kernels::attend_block : kernels::attend_decode)(shape, block, {&slice, 1}, state, scratch);
}

void must(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

void to_disk_and_back(std::span<const std::byte> page) {
  const auto rest = quant::encode_rest(page);
  must(rest.ok(), "a page is not coded for the disk");
  const auto info = quant::inspect_rest(*rest);
  must(info.ok() && info->resident_bytes == page.size() && info->n_pages == 1, "a chunk does not know its page");
  ExactBuffer again(page.size());
  must(quant::decode_rest(*rest, again.span()).ok(), "a page does not come back from the disk");
  must(std::ranges::equal(again.span(), page), "a page comes back from the disk as another");
}

bool read(std::span<const std::byte> bytes) {
  ExactBuffer copy(bytes);
  const auto verified = quant::verify_page(copy.span());
  if (!verified.ok()) return false;
  const quant::PageView& page = *verified;
  ExactBuffer again(bytes);
  quant::write_page_header(page.codec, page.meta, again.span());
  must(std::ranges::equal(again.span(), copy.span()), "a header says what it says in two ways");

  const auto width = static_cast<size_t>(page.meta.n_kv_heads) * static_cast<size_t>(page.meta.head_dim);
  std::vector<float> k(width * static_cast<size_t>(page.meta.n_tokens)), v(k.size());
  const auto codecs = codecs_of(page.codec);
  for (const auto& codec : codecs) {
    const Status status = codec->decode_page(page, k.data(), v.data());
    must(status.ok() || status.code() == StatusCode::kInvalidArgument, "a page is not decoded by its codec");
  }
  // What is done beside follows from the checksum: doing all of it each time would make a run ten times as long.
  uint64_t pick;
  std::memcpy(&pick, bytes.data() + kPageChecksumOffset, sizeof pick);
  const auto choose = [&pick](uint64_t n) { return std::exchange(pick, pick / n) % n; };
  const auto head = static_cast<int>(choose(static_cast<uint64_t>(page.meta.n_kv_heads)));
  const kernels::PageSlice slice = page.slice(head);
  if (codecs.empty()) {
    kernels::decode_keys(slice, page.meta.head_dim, k.data(), width);
    kernels::decode_values(slice, page.meta.head_dim, v.data(), width);
  }
  if (choose(4) == 0) {
    use_target(choose(16));
    attend(page, slice, choose(4));
  }
  if (choose(16) == 0) to_disk_and_back(copy.span());
  return true;
}

void reshape(Bytes& bytes, Random& random) {
  const quant::PageMeta meta = random_meta(random);
  const quant::CodecTag tag = random_tag(random, meta.head_dim);
  if (!kernels::format_error(tag.k, meta.head_dim).empty() || !kernels::format_error(tag.v, meta.head_dim).empty())
    return;
  const size_t size = quant::page_bytes(tag, meta.n_kv_heads, meta.head_dim, meta.n_tokens);
  if (size > kMaxFuzzedPage) return;
  const size_t before = bytes.size();
  bytes.resize(size);
  for (size_t i = before; i < size; ++i) bytes[i] = static_cast<std::byte>(random() >> 8);
  quant::write_page_header(tag, meta, bytes);
}

void mend(Bytes& bytes, Random& random) {
  const auto way = random() % 8;
  if (way == 0) return;
  if (way == 1) reshape(bytes, random);
  if (bytes.size() < quant::kPageHeaderBytes) return;
  if (way < 6) {
    if (const auto size = size_of_page(bytes); size && *size <= kMaxFuzzedPage) {
      bytes.resize(*size);
      const auto stored = static_cast<uint32_t>(*size);
      std::memcpy(bytes.data() + kPageSizeOffset, &stored, sizeof stored);
    }
  }
  fix_page_checksum(bytes);
}

}  // namespace

const FuzzTarget kPagesTarget = {"pages", kMaxFuzzedPage, pages_of_every_codec, read, mend};

}  // namespace recalld::testing
