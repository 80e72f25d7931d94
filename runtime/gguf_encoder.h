// A text encoder from a GGUF file, run by libllama: all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957; trained as
// Reimers & Gurevych 2019, arXiv 1908.10084) by default, or another embedding model.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "runtime/text_encoder.h"

namespace recalld::runtime {

// Any embedding model that libllama runs (`bert`, `nomic-bert`, ...) and whose file says how it pools: mean, first or
// last token. The window is the file's context length, 2,048 tokens at most, with the tokens that the model puts around
// a text. Strings that spell special tokens stay plain characters. The same file, text and threads give the same
// vector.
//
// kNotFound, kInvalidArgument, kCorrupt as GgufFile::open; kCorrupt too for metadata that contradict each other.
// kUnsupported for a file that is no embedding model, a reranker, or one that libllama cannot run.
// kInvalidArgument for threads out of 1 to 512.
//
// The encoder computes on the thread that calls embed(), and on threads - 1 more while it does.
Result<std::unique_ptr<TextEncoder>> open_gguf_encoder(const std::string& path, int threads = 1);

}  // namespace recalld::runtime
