// Pages held in memory, and the list of them that a query attends to.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "quant/codec.h"

namespace recalld::cache {

class MemoryPool;

// One immutable page in memory. Shares the buffer it lies in (a loaded chunk holds the pages of all layers), which
// counts its bytes in the pool until the last page of it is gone.
class Page {
 public:
  // first_head: a page may hold some of its layer's KV heads alone, [first_head, first_head + meta.n_kv_heads). Such a
  // page needs a codec whose maps are the same for all heads.
  Page(std::shared_ptr<const void> owner, quant::PageView view, std::shared_ptr<const quant::Codec> codec,
       int32_t first_head = 0)
      : owner_(std::move(owner)), view_(view), codec_(std::move(codec)), first_head_(first_head) {}

  const quant::PageMeta& meta() const { return view_.meta; }
  const quant::PageView& view() const { return view_; }
  const quant::Codec& codec() const { return *codec_; }
  int32_t first_head() const { return first_head_; }
  size_t bytes() const { return view_.bytes.size(); }

 private:
  std::shared_ptr<const void> owner_;
  quant::PageView view_;
  std::shared_ptr<const quant::Codec> codec_;
  int32_t first_head_;
};

using PagePtr = std::shared_ptr<const Page>;

// Where the pages of a view stand.
enum class Placement {
  // View positions follow from the order: 0, 1, 2 ... without gaps. Pages hold all heads.
  kCompact,
  // Every key stays at the position it was rotated at, and the query begins at query_start, after all of them. Pages
  // may hold some heads alone, and entries from scattered positions: rope_start is then the position of the first, and
  // the others follow in ascending order. In a layer with a window, entries must be consecutive.
  kAsRotated,
};

// Per layer, pages in view order.
struct View {
  std::vector<std::vector<PagePtr>> layers;
  Placement placement = Placement::kCompact;
  int32_t query_start = 0;  // of kAsRotated alone

  // The most entries that a KV head of the layer has.
  int32_t tokens(int layer) const;
  // Where the working rows begin: the longest layer, or query_start.
  int32_t extent() const;
  size_t bytes() const;
};

// How pages are written.
struct CodecPlan {
  std::vector<std::shared_ptr<const quant::Codec>> layers;
  // Name of an archive (quant::archive_options) that rows go through, and lie in at rest, before they are coded. Lossy.
  // "": none.
  std::string archive;
};

// 16 bits in every layer.
CodecPlan plain_plan(size_t n_layers);

}  // namespace recalld::cache
