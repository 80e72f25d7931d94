#include "runtime/gguf_file.h"

#include <ggml-cpp.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>

#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

using recalld::testing::SyntheticModel;
using recalld::testing::write_synthetic_gguf;

TEST(GgufFile, AgreesWithGgmlsOwnParserOnTheDefaultModel) {
  const auto file = GgufFile::open(default_model_path()).value();
  ggml_context* raw = nullptr;
  const gguf_context_ptr other(gguf_init_from_file(default_model_path().c_str(), {true, &raw}));
  const ggml_context_ptr tensors(raw);
  ASSERT_NE(other, nullptr);
  ASSERT_EQ(file->keys().size(), static_cast<size_t>(gguf_get_n_kv(other.get())));
  for (size_t i = 0; i < file->keys().size(); ++i) {
    const std::string& key = file->keys()[i];
    EXPECT_EQ(key, gguf_get_key(other.get(), static_cast<int64_t>(i)));
    if (gguf_get_kv_type(other.get(), static_cast<int64_t>(i)) == GGUF_TYPE_STRING) {
      EXPECT_EQ(file->get_string(key), gguf_get_val_str(other.get(), static_cast<int64_t>(i)));
    }
    if (gguf_get_kv_type(other.get(), static_cast<int64_t>(i)) == GGUF_TYPE_UINT32) {
      EXPECT_EQ(file->get_int(key), gguf_get_val_u32(other.get(), static_cast<int64_t>(i)));
    }
  }
  ASSERT_EQ(file->tensors().size(), static_cast<size_t>(gguf_get_n_tensors(other.get())));
  const size_t data_start = gguf_get_data_offset(other.get());
  for (size_t i = 0; i < file->tensors().size(); ++i) {
    const GgufTensor& tensor = file->tensors()[i];
    const auto id = static_cast<int64_t>(i);
    EXPECT_EQ(tensor.name, gguf_get_tensor_name(other.get(), id));
    EXPECT_EQ(tensor.type, gguf_get_tensor_type(other.get(), id));
    EXPECT_EQ(tensor.data.size(), gguf_get_tensor_size(other.get(), id));
    EXPECT_EQ(tensor.data.data() - file->bytes().data(),
              static_cast<ptrdiff_t>(data_start + gguf_get_tensor_offset(other.get(), id)));
    const ggml_tensor* same = ggml_get_tensor(tensors.get(), tensor.name.c_str());
    for (size_t d = 0; d < 4; ++d) EXPECT_EQ(tensor.shape[d], same->ne[d]);
  }
  const auto tokens = file->get_strings("tokenizer.ggml.tokens").value();
  const int64_t tokens_key = gguf_find_key(other.get(), "tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), gguf_get_arr_n(other.get(), tokens_key));
  for (size_t i = 0; i < tokens.size(); i += 997) EXPECT_EQ(tokens[i], gguf_get_arr_str(other.get(), tokens_key, i));
}

TEST(GgufFile, WrongFilesAreNamedWithARemedy) {
  const TempFolder folder;
  const auto open = [](const std::string& path) { return GgufFile::open(path).status(); };
  const Status missing = open(folder.file("none.gguf"));
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_NE(missing.message().find("none.gguf"), std::string::npos);
  EXPECT_EQ(open("/").code(), StatusCode::kInvalidArgument);
  std::FILE* text = std::fopen(folder.file("text").c_str(), "w");
  std::fputs("This is a story, not a model.", text);
  std::fclose(text);
  const Status foreign = open(folder.file("text"));
  EXPECT_EQ(foreign.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(foreign.message().find("not a GGUF"), std::string::npos);
  std::fclose(std::fopen(folder.file("empty").c_str(), "w"));
  EXPECT_EQ(open(folder.file("empty")).code(), StatusCode::kCorrupt);
}

TEST(GgufFile, DigestNamesTheContents) {
  const TempFolder folder;
  ASSERT_TRUE(write_synthetic_gguf({.seed = 1}, folder.file("a")).ok());
  ASSERT_TRUE(write_synthetic_gguf({.seed = 1}, folder.file("b")).ok());
  ASSERT_TRUE(write_synthetic_gguf({.seed = 2}, folder.file("c")).ok());
  const Digest128 a = GgufFile::open(folder.file("a")).value()->digest();
  EXPECT_EQ(a, GgufFile::open(folder.file("b")).value()->digest());
  EXPECT_NE(a, GgufFile::open(folder.file("c")).value()->digest());
  EXPECT_TRUE(GgufFile::open(folder.file("a"), {.expected_digest = a}).ok());
  const Status other = GgufFile::open(folder.file("c"), {.expected_digest = a}).status();
  EXPECT_EQ(other.code(), StatusCode::kCorrupt);
  EXPECT_NE(other.message().find(a.hex()), std::string::npos);
}

class ModelLoad : public SyntheticFixture {
 protected:
  // Writes the model with one more change to its metadata or tensors, and loads it.
  Status load_changed(const std::function<void(gguf_context*)>& change) {
    const std::string plain = folder_.file("plain.gguf");
    const std::string changed = folder_.file("changed.gguf");
    EXPECT_TRUE(write_synthetic_gguf({}, plain).ok());
    ggml_context* raw = nullptr;
    const gguf_context_ptr source(gguf_init_from_file(plain.c_str(), {false, &raw}));
    const ggml_context_ptr tensors(raw);
    const gguf_context_ptr gguf(gguf_init_empty());
    gguf_set_kv(gguf.get(), source.get());
    for (int64_t i = 0; i < gguf_get_n_tensors(source.get()); ++i) {
      gguf_add_tensor(gguf.get(), ggml_get_tensor(tensors.get(), gguf_get_tensor_name(source.get(), i)));
    }
    change(gguf.get());
    EXPECT_TRUE(gguf_write_to_file(gguf.get(), changed.c_str(), false));
    return Model::load({.path = changed, .file = {}}).status();
  }
};

TEST_F(ModelLoad, ForeignArchitectureNamesTheSupportedOnes) {
  SyntheticModel description;
  description.architecture = "mamba";
  ASSERT_TRUE(write_synthetic_gguf(description, folder_.file("m.gguf")).ok());
  const Status status = Model::load({.path = folder_.file("m.gguf"), .file = {}}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  for (const char* name : {"m.gguf", "mamba", "llama", "qwen2", "qwen3", "gemma3"}) {
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
  }
}

TEST_F(ModelLoad, SaysWhatIsMissingOrWrong) {
  const auto expect = [this](StatusCode code, const std::string& named,
                             const std::function<void(gguf_context*)>& change) {
    const Status status = load_changed(change);
    EXPECT_EQ(status.code(), code) << status.to_string();
    EXPECT_NE(status.message().find(named), std::string::npos) << status.to_string();
  };
  EXPECT_TRUE(load_changed([](gguf_context*) {}).ok());
  expect(StatusCode::kCorrupt, "llama.block_count", [](gguf_context* g) { gguf_remove_key(g, "llama.block_count"); });
  expect(StatusCode::kCorrupt, "blk.2.", [](gguf_context* g) { gguf_set_val_u32(g, "llama.block_count", 3); });
  expect(StatusCode::kUnsupported, "blk.1.", [](gguf_context* g) { gguf_set_val_u32(g, "llama.block_count", 1); });
  expect(StatusCode::kCorrupt, "shape", [](gguf_context* g) { gguf_set_val_u32(g, "llama.feed_forward_length", 128); });
  expect(StatusCode::kCorrupt, "head_count",
         [](gguf_context* g) { gguf_set_val_u32(g, "llama.attention.head_count", 0); });
  expect(StatusCode::kUnsupported, "yarn",
         [](gguf_context* g) { gguf_set_val_str(g, "llama.rope.scaling.type", "yarn"); });
  expect(StatusCode::kUnsupported, "experts", [](gguf_context* g) { gguf_set_val_u32(g, "llama.expert_count", 8); });
  expect(StatusCode::kUnsupported, "rwkv",
         [](gguf_context* g) { gguf_set_val_str(g, "tokenizer.ggml.model", "rwkv"); });
  expect(StatusCode::kCorrupt, "tokenizer.ggml.tokens",
         [](gguf_context* g) { gguf_remove_key(g, "tokenizer.ggml.tokens"); });
  expect(StatusCode::kCorrupt, "pre-tokenizer",
         [](gguf_context* g) { gguf_set_val_str(g, "tokenizer.ggml.pre", "?"); });
  expect(StatusCode::kCorrupt, "layer_norm_rms_epsilon",
         [](gguf_context* g) { gguf_set_val_f32(g, "llama.attention.layer_norm_rms_epsilon", NAN); });
}

TEST_F(ModelLoad, WeightsThatAreNotNumbersAreRefused) {
  std::vector<float> values;  // gguf keeps a pointer to them until it writes
  const Status status = load_changed([&values](gguf_context* g) {
    const int64_t id = gguf_find_tensor(g, "blk.1.ffn_up.weight");
    values.assign(gguf_get_tensor_size(g, id) / sizeof(float), 0.5F);
    values[100] = NAN;
    gguf_set_tensor_data(g, "blk.1.ffn_up.weight", values.data());
  });
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_NE(status.message().find("blk.1.ffn_up.weight"), std::string::npos) << status.to_string();
}

TEST_F(ModelLoad, InfoAndFingerprintFollowTheFile) {
  const auto a = make({.seed = 1});
  const auto again = load_or_throw(path_);
  const auto b = make({.seed = 2});
  const auto c = make({.rope_base = 5000.0F, .seed = 1});
  EXPECT_EQ(a->fingerprint(), again->fingerprint());
  EXPECT_NE(a->fingerprint(), b->fingerprint());
  EXPECT_NE(a->fingerprint(), c->fingerprint());
  EXPECT_EQ(a->info().tokenizer, b->info().tokenizer);
  EXPECT_EQ(a->info().n_ctx_train, 512);
  EXPECT_EQ(a->info().n_layers, 2);
  EXPECT_EQ(a->info().n_vocab, 263);
  EXPECT_EQ(a->cache_shape().f16_bytes_per_token(), 2U * 2 * 16 * 4);
}

}  // namespace
}  // namespace recalld::runtime
