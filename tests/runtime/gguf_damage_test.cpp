// Damaged model files: every one must be refused with a Status or load as a valid model, never end the program.
#include <ggml-cpp.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "runtime/vocabulary.h"
#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

using recalld::testing::write_synthetic_gguf;

std::vector<char> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::string& path, const char* bytes, size_t n) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes, static_cast<std::streamsize>(n));
}

// Loads and, when that works, runs: a model that was let in must be usable.
StatusCode load_and_run(const std::string& path) {
  const auto model = Model::load({.path = path, .file = {}});
  if (!model.ok()) {
    EXPECT_FALSE(model.status().message().empty());
    return model.status().code();
  }
  const Tokenizer tokenizer(*model);
  std::vector<int32_t> tokens = tokenizer.tokenize("the hello \xF0\x9F\x98\x80 world");
  tokens.push_back(0);
  for (int32_t i = 0; i < tokenizer.n_vocab(); i += 7) tokenizer.piece(i, true);
  const auto engine = Engine::create(*model, {});
  EXPECT_TRUE(engine.ok());
  const auto sequence = make_sequence(**model);
  std::vector<float> logits;
  const StepRequest request{.sequence = sequence.get(), .tokens = tokens, .logits = &logits};
  const Status status = (*engine)->step({&request, 1});
  EXPECT_TRUE(status.ok() || status.code() == StatusCode::kTooLarge) << status.to_string();
  return StatusCode::kOk;
}

size_t header_bytes(const std::string& path) {
  const auto file = GgufFile::open(path).value();
  return static_cast<size_t>(file->tensors().front().data.data() - file->bytes().data());
}

TEST(GgufDamage, EveryTruncationOfASmallModelIsRefused) {
  const TempFolder folder;
  const std::string path = folder.file("model.gguf");
  ASSERT_TRUE(write_synthetic_gguf({}, path).ok());
  const std::vector<char> bytes = read_bytes(path);
  const std::string cut = folder.file("cut.gguf");
  for (size_t n = 0; n < bytes.size(); n += n < 600 ? 1 : 211) {
    write_bytes(cut, bytes.data(), n);
    EXPECT_NE(load_and_run(cut), StatusCode::kOk) << n << " of " << bytes.size() << " bytes";
  }
}

TEST(GgufDamage, FlippedBitsInTheHeaderOfASmallModel) {
  const TempFolder folder;
  const std::string path = folder.file("model.gguf");
  ASSERT_TRUE(write_synthetic_gguf({}, path).ok());
  std::vector<char> bytes = read_bytes(path);
  const size_t header = header_bytes(path);
  const std::string damaged = folder.file("damaged.gguf");
  std::mt19937 random(1);
  int refused = 0;
  for (size_t at = 0; at < header; at += 3) {
    const auto bit = static_cast<char>(1U << (random() % 8));
    bytes[at] = static_cast<char>(bytes[at] ^ bit);
    write_bytes(damaged, bytes.data(), bytes.size());
    refused += load_and_run(damaged) != StatusCode::kOk ? 1 : 0;
    bytes[at] = static_cast<char>(bytes[at] ^ bit);
  }
  EXPECT_GT(refused, 100);
}

// Flips one bit of a file in place.
void flip(const std::string& path, size_t at, unsigned bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  char byte = 0;
  file.seekg(static_cast<std::streamoff>(at)).read(&byte, 1);
  byte = static_cast<char>(byte ^ static_cast<char>(1U << bit));
  file.seekp(static_cast<std::streamoff>(at)).write(&byte, 1);
}

TEST(GgufDamage, TheDefaultModelCutOrFlipped) {
  const TempFolder folder;
  const std::string damaged = folder.file("damaged.gguf");
  std::filesystem::copy_file(default_model_path(), damaged);
  const size_t header = header_bytes(damaged);
  std::mt19937 random(2);
  for (int i = 0; i < 30; ++i) {
    // Most of the header is vocabulary; the first kilobytes hold the rest.
    const size_t at = random() % (i < 20 ? 4096 : header);
    const unsigned bit = random() % 8;
    flip(damaged, at, bit);
    load_and_run(damaged);
    flip(damaged, at, bit);
  }
  EXPECT_EQ(load_and_run(damaged), StatusCode::kOk);
  for (int i = 0; i < 20; ++i) {
    const size_t size = std::filesystem::file_size(damaged);
    std::filesystem::resize_file(damaged, i < 5 ? header + random() % (size - header) : random() % size);
    EXPECT_NE(load_and_run(damaged), StatusCode::kOk) << std::filesystem::file_size(damaged);
  }
}

TEST(GgufDamage, FlippedBitsInTheVocabularyOfTheDefaultModel) {
  const TempFolder folder;
  const std::string path = folder.file("vocabulary.gguf");
  const gguf_context_ptr source(gguf_init_from_file(default_model_path().c_str(), {true, nullptr}));
  const gguf_context_ptr bare(gguf_init_empty());
  gguf_set_kv(bare.get(), source.get());
  ASSERT_TRUE(gguf_write_to_file(bare.get(), path.c_str(), true));
  const size_t size = std::filesystem::file_size(path);
  std::mt19937 random(3);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    const size_t at = random() % size;
    const unsigned bit = random() % 8;
    flip(path, at, bit);
    const auto file = GgufFile::open(path);
    refused += !file.ok() || !Vocabulary::load(**file).ok() ? 1 : 0;
    flip(path, at, bit);
  }
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(Vocabulary::load(*GgufFile::open(path).value()).ok());
}

}  // namespace
}  // namespace recalld::runtime
