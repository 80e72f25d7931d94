// Pages held in memory, and the list of them that a query attends to.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
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
  Page(std::shared_ptr<const void> owner, quant::PageView view, std::shared_ptr<const quant::Codec> codec)
      : owner_(std::move(owner)), view_(view), codec_(std::move(codec)) {}

  const quant::PageMeta& meta() const { return view_.meta; }
  const quant::PageView& view() const { return view_; }
  const quant::Codec& codec() const { return *codec_; }
  size_t bytes() const { return view_.bytes.size(); }

 private:
  std::shared_ptr<const void> owner_;
  quant::PageView view_;
  std::shared_ptr<const quant::Codec> codec_;
};

using PagePtr = std::shared_ptr<const Page>;

// Per layer, pages in view order. View positions follow from the order: no gaps.
struct View {
  std::vector<std::vector<PagePtr>> layers;

  int32_t tokens(int layer) const;
  // The longest layer: where the working rows begin.
  int32_t extent() const;
  size_t bytes() const;
};

// Which codec each layer's pages are written with.
struct CodecPlan {
  std::vector<std::shared_ptr<const quant::Codec>> layers;
};

}  // namespace recalld::cache
