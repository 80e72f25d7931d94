#include "storage/kv_store.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <future>

#include "support.h"

namespace recalld::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class KvStoreTest : public OpenStores {
 protected:
  static TrunkRow trunk(int64_t tokens) {
    TrunkRow row;
    row.fingerprint = {0x1122334455667788, 0x99AABBCCDDEEFF00};
    row.n_tokens = tokens;
    row.n_turns = tokens / 10;
    row.state = pattern_bytes(static_cast<uint64_t>(tokens), 37);
    return row;
  }
  std::vector<int32_t> indices(const std::string& session) {
    std::vector<int32_t> out;
    const auto chunks = kv().chunk_list(session);
    for (const ChunkInfo& chunk : *chunks) out.push_back(chunk.idx);
    return out;
  }
  void expect_payload(const std::string& session, int32_t idx, const std::vector<std::byte>& expected) {
    const auto loaded = kv().load_chunk(session, idx);
    ASSERT_TRUE(loaded.ok()) << loaded.status().to_string();
    ASSERT_EQ(loaded->size(), expected.size());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), loaded->data()));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(loaded->data()) % 64, 0U);
  }
};

TEST_F(KvStoreTest, TrunkAndChunksComeBack) {
  EXPECT_EQ(*kv().trunk("s"), std::nullopt);
  const auto big = pattern_bytes(1, (3 << 20) + 17);
  const auto small = pattern_bytes(2, 100);
  ASSERT_OK(kv().put_trunk("s", trunk(640),
                           {new_chunk(0, ChunkKind::kPages, big), new_chunk(1, ChunkKind::kPages, small),
                            new_chunk(7, ChunkKind::kTail, {})},
                           0));
  reopen();
  ASSERT_OK_AND_ASSIGN(const auto both, kv().trunk_and_chunks("s"));
  ASSERT_TRUE(both.has_value());
  EXPECT_EQ(both->trunk.fingerprint, trunk(640).fingerprint);
  EXPECT_EQ(both->trunk.n_tokens, 640);
  EXPECT_EQ(both->trunk.n_turns, 64);
  EXPECT_EQ(both->trunk.state, trunk(640).state);
  EXPECT_EQ(both->trunk.updated_ms, clock_.now_ms());
  ASSERT_THAT(both->chunks, SizeIs(3));
  EXPECT_EQ(both->chunks[1].token_first, 64);
  EXPECT_EQ(both->chunks[1].n_tokens, 64);
  EXPECT_EQ(both->chunks[1].n_bytes, 100);
  EXPECT_EQ(both->chunks[2].kind, ChunkKind::kTail);
  expect_payload("s", 0, big);
  expect_payload("s", 1, small);
  expect_payload("s", 7, {});
  EXPECT_EQ(kv().load_chunk("s", 2).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(kv().load_chunk("t", 0).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(kv().bytes("t")->file, 0);
  EXPECT_THAT(*kv().sessions(), ElementsAre("s"));
  EXPECT_THAT(*kv().check(), IsEmpty());
}

TEST_F(KvStoreTest, APutReplacesTailsAndWhatIsAbove) {
  const auto chunk = [](int32_t idx, ChunkKind kind, uint64_t seed) {
    return new_chunk(idx, kind, pattern_bytes(seed, 5000));
  };
  ASSERT_OK(kv().put_trunk(
      "s", trunk(1), {chunk(0, ChunkKind::kPages, 10), chunk(1, ChunkKind::kPages, 11), chunk(2, ChunkKind::kTail, 12)},
      0));
  ASSERT_OK(kv().put_trunk("t", trunk(9), {chunk(0, ChunkKind::kTail, 90)}, 0));
  ASSERT_OK(kv().put_trunk("s", trunk(2), {chunk(2, ChunkKind::kPages, 22), chunk(3, ChunkKind::kTail, 23)}, 2));
  EXPECT_THAT(indices("s"), ElementsAre(0, 1, 2, 3));
  expect_payload("s", 0, pattern_bytes(10, 5000));
  expect_payload("s", 2, pattern_bytes(22, 5000));
  // A tail below the line is replaced as well, and everything from the line on.
  ASSERT_OK(kv().put_trunk("s", trunk(3), {chunk(1, ChunkKind::kTail, 31)}, 1));
  EXPECT_THAT(indices("s"), ElementsAre(0, 1));
  ASSERT_OK(kv().put_trunk("s", trunk(4), {}, 5));
  EXPECT_THAT(indices("s"), ElementsAre(0));
  EXPECT_EQ((*kv().trunk("s"))->n_tokens, 4);
  expect_payload("t", 0, pattern_bytes(90, 5000));
}

TEST_F(KvStoreTest, ARefusedPutChangesNothing) {
  ASSERT_OK(kv().put_trunk(
      "s", trunk(1),
      {new_chunk(0, ChunkKind::kPages, pattern_bytes(1, 100)), new_chunk(1, ChunkKind::kTail, pattern_bytes(2, 100))},
      0));
  const auto again = [](int32_t idx) { return new_chunk(idx, ChunkKind::kPages, pattern_bytes(9, 100)); };
  EXPECT_EQ(kv().put_trunk("s", trunk(2), {again(1), again(0)}, 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(kv().put_trunk("s", trunk(2), {again(4), again(4)}, 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(kv().put_trunk("s", trunk(2), {again(-1)}, 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(kv().put_trunk("s", trunk(2), {}, -1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(kv().put_trunk("gone", trunk(2), {}, 0).code(), StatusCode::kNotFound);
  EXPECT_EQ((*kv().trunk("s"))->n_tokens, 1);
  EXPECT_THAT(indices("s"), ElementsAre(0, 1));
  EXPECT_OK(kv().write_state());
}

TEST_F(KvStoreTest, AsyncPutsRunInOrderAndReport) {
  std::vector<std::future<Status>> outcomes;
  for (int i = 1; i <= 20; ++i) {
    auto promise = std::make_shared<std::promise<Status>>();
    outcomes.push_back(promise->get_future());
    kv().put_trunk_async("s", trunk(i), {new_chunk(i, ChunkKind::kPages, pattern_bytes(i, 4'000'000))}, i,
                         [promise](const Status& status) { promise->set_value(status); });
  }
  for (auto& outcome : outcomes) EXPECT_OK(outcome.get());
  EXPECT_EQ((*kv().trunk("s"))->n_tokens, 20);
  EXPECT_THAT(indices("s"), SizeIs(20));

  NewChunk unowned = new_chunk(50, ChunkKind::kPages, pattern_bytes(1, 10));
  const auto owner = std::exchange(unowned.owner, nullptr);
  std::promise<Status> refused;
  kv().put_trunk_async("s", trunk(50), {unowned}, 50, [&](const Status& status) { refused.set_value(status); });
  EXPECT_EQ(refused.get_future().get().code(), StatusCode::kInvalidArgument);
  kv().put_trunk_async("s", trunk(99), {}, 99, nullptr);
  reopen();  // closing finishes what waits
  EXPECT_EQ((*kv().trunk("s"))->n_tokens, 99);
}

TEST_F(KvStoreTest, DropForgetsOneSession) {
  std::vector<NewChunk> many;
  for (int i = 0; i < 40; ++i) many.push_back(new_chunk(i, ChunkKind::kPages, pattern_bytes(i, 1 << 20)));
  ASSERT_OK(kv().put_trunk("s", trunk(1), many, 0));
  ASSERT_OK(kv().put_trunk("t", trunk(2), {new_chunk(0, ChunkKind::kPages, pattern_bytes(7, 1000))}, 0));
  const int64_t size = kv().file_bytes();
  ASSERT_OK(kv().drop_trunk("s"));
  EXPECT_EQ(*kv().trunk("s"), std::nullopt);
  EXPECT_THAT(indices("s"), IsEmpty());
  EXPECT_EQ((*kv().trunk("t"))->n_tokens, 2);
  EXPECT_OK(kv().drop_trunk("never"));
  ASSERT_OK(kv().put_trunk("s", trunk(3), many, 0));
  // What was freed is used again: another 40 MiB would not fit in a quarter of the file.
  EXPECT_LT(kv().file_bytes(), size + size / 4);
  EXPECT_THAT(*kv().check(), IsEmpty());
}

TEST_F(KvStoreTest, AFlippedBitIsFoundAndNamed) {
  const auto payload = pattern_bytes(5, 300'000);
  ASSERT_OK(kv().put_trunk(
      "s", trunk(1),
      {new_chunk(0, ChunkKind::kPages, pattern_bytes(4, 300'000)), new_chunk(1, ChunkKind::kPages, payload)}, 0));
  stores_.reset();
  const std::string file = dir_.file("kv.db");
  const std::string needle(reinterpret_cast<const char*>(payload.data()) + 150'000, 32);
  const size_t at = read_file(file).find(needle);
  ASSERT_NE(at, std::string::npos);
  flip_bit(file, at + 5);
  reopen();
  EXPECT_THAT(stores_->notes(), IsEmpty());
  EXPECT_OK(kv().load_chunk("s", 0).status());
  const Status damaged = kv().load_chunk("s", 1).status();
  EXPECT_EQ(damaged.code(), StatusCode::kCorrupt);
  EXPECT_THAT(damaged.message(), HasSubstr("chunk 1 of session s"));
  ASSERT_OK_AND_ASSIGN(const auto problems, kv().check());
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0], HasSubstr("chunk 1 of session s"));
  // The remedy: put it again.
  ASSERT_OK(kv().put_trunk("s", trunk(1), {new_chunk(1, ChunkKind::kPages, payload)}, 1));
  EXPECT_OK(kv().load_chunk("s", 1).status());
  EXPECT_THAT(*kv().check(), IsEmpty());
}

TEST_F(KvStoreTest, StartingOverSetsTheFileAside) {
  ASSERT_OK(kv().put_trunk("s", trunk(1), {new_chunk(0, ChunkKind::kPages, pattern_bytes(4, 1000))}, 0));
  ASSERT_OK_AND_ASSIGN(const std::string note, kv().start_over());
  EXPECT_THAT(note, HasSubstr("kv.db.corrupt-1"));
  EXPECT_TRUE(std::filesystem::exists(dir_.file("kv.db.corrupt-1")));
  EXPECT_EQ(*kv().trunk("s"), std::nullopt);
  ASSERT_OK(kv().put_trunk("s", trunk(2), {new_chunk(0, ChunkKind::kPages, pattern_bytes(4, 1000))}, 0));
  reopen();
  EXPECT_EQ((*kv().trunk("s"))->n_tokens, 2);
}

}  // namespace
}  // namespace recalld::storage
