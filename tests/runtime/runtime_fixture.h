// What the tests of this room share.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cache/memory_pool.h"
#include "cache/sequence.h"
#include "runtime/engine.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"
#include "tests/support/synthetic_gguf.h"

namespace recalld::runtime {

// A folder of its own for each test, gone afterwards.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "recalld-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string default_model_path() {
  const char* path = std::getenv("RECALLD_TEST_MODEL");
  return path != nullptr ? path : "";
}

// The default model, loaded once per program.
inline std::shared_ptr<const Model> default_model() {
  static const std::shared_ptr<const Model> model = [] {
    auto loaded = Model::load({.path = default_model_path(), .file = {}});
    if (!loaded.ok()) throw std::runtime_error("RECALLD_TEST_MODEL: " + loaded.status().to_string());
    return std::move(loaded).value();
  }();
  return model;
}

inline std::shared_ptr<const Model> load_or_throw(const std::string& path) {
  auto loaded = Model::load({.path = path, .file = {}});
  if (!loaded.ok()) throw std::runtime_error(loaded.status().to_string());
  return std::move(loaded).value();
}

inline std::unique_ptr<Engine> engine_or_throw(std::shared_ptr<const Model> model, const EngineOptions& options = {}) {
  auto engine = Engine::create(std::move(model), options);
  if (!engine.ok()) throw std::runtime_error(engine.status().to_string());
  return std::move(engine).value();
}

// A synthetic model on disk and in memory.
class SyntheticFixture : public ::testing::Test {
 protected:
  std::shared_ptr<const Model> make(const recalld::testing::SyntheticModel& description) {
    path_ = folder_.file(description.architecture + ".gguf");
    const Status written = recalld::testing::write_synthetic_gguf(description, path_);
    if (!written.ok()) throw std::runtime_error(written.to_string());
    return load_or_throw(path_);
  }

  TempFolder folder_;
  std::string path_;
};

inline std::unique_ptr<cache::Sequence> make_sequence(const Model& model, size_t limit = 0) {
  return std::make_unique<cache::Sequence>(model.cache_shape(), cache::MemoryPool::create(limit));
}

// Pseudo-random tokens below `limit`.
inline std::vector<int32_t> some_tokens(int n, int limit, uint32_t seed = 7) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) {
    seed = seed * 1664525U + 1013904223U;
    tokens.push_back(static_cast<int32_t>((seed >> 8U) % static_cast<uint32_t>(limit)));
  }
  return tokens;
}

// One step of one sequence; throws on an error.
inline std::vector<float> step_or_throw(Engine& engine, cache::Sequence& sequence, std::span<const int32_t> tokens,
                                        Outputs outputs = Outputs::kAll) {
  std::vector<float> logits;
  const StepRequest request{.sequence = &sequence, .tokens = tokens, .outputs = outputs, .logits = &logits};
  const Status status = engine.step({&request, 1});
  if (!status.ok()) throw std::runtime_error(status.to_string());
  return logits;
}

}  // namespace recalld::runtime
