// The default model, loaded once per test program.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "runtime/engine.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"

namespace recalld {

inline std::shared_ptr<const runtime::Model> test_model() {
  static const std::shared_ptr<const runtime::Model> model = [] {
    const char* path = std::getenv("RECALLD_TEST_MODEL");
    runtime::ModelOptions options;
    options.path = path != nullptr ? path : "";
    auto loaded = runtime::Model::load(options);
    if (!loaded.ok()) throw std::runtime_error("RECALLD_TEST_MODEL: " + loaded.status().to_string());
    return std::move(loaded).value();
  }();
  return model;
}

inline std::unique_ptr<runtime::Engine> test_engine() { return runtime::Engine::create(test_model(), {}).value(); }

}  // namespace recalld
