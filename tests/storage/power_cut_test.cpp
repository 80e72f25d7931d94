#include <gmock/gmock.h>

#include <filesystem>
#include <optional>

#include "fault_vfs.h"
#include "support.h"

namespace recalld::storage {
namespace {

// What the stores have promised so far.
struct Promised {
  bool session = false;
  int64_t turns = 0;
  bool removed = false;
};

std::string text_of(int64_t idx) { return "turn " + std::to_string(idx) + std::string(900, 't'); }

// A day in the life, until it fails.
Status run_scenario(Stores& stores, Promised* promised) {
  SessionRow row;
  row.principal = "local";
  for (const char* id : {"s", "other"}) {
    row.id = id;
    RECALLD_RETURN_IF_ERROR(stores.memory().create_session(row).status());
  }
  promised->session = true;
  RECALLD_RETURN_IF_ERROR(stores.memory().append_turns("other", {turn("a secret")}).status());
  for (int round = 0; round < 6; ++round) {
    std::vector<TurnRow> rows;
    for (int i = 0; i < 3; ++i) rows.push_back(turn(text_of(promised->turns + i)));
    RECALLD_RETURN_IF_ERROR(stores.memory().append_turns("s", rows).status());
    promised->turns += 3;
    TrunkRow trunk;
    trunk.n_tokens = round + 1;
    RECALLD_RETURN_IF_ERROR(stores.kv().put_trunk(
        "s", trunk,
        {new_chunk(round, ChunkKind::kPages, pattern_bytes(static_cast<uint64_t>(round), 150'000)),
         new_chunk(round + 1, ChunkKind::kTail, pattern_bytes(99, 70'000))},
        round));
    if (round == 3) {
      RECALLD_RETURN_IF_ERROR(stores.remove_session("other"));
      promised->removed = true;
    }
  }
  return ok_status();
}

void check_promises(const std::string& directory, const Promised& promised, const std::string& when) {
  const SystemClock clock;
  const auto opened = Stores::open(directory, clock);
  ASSERT_TRUE(opened.ok()) << when << ": " << opened.status().to_string();
  Stores& stores = **opened;
  EXPECT_THAT(stores.notes(), ::testing::IsEmpty()) << when;
  const auto rows = stores.memory().turns("s", 0, -1);
  ASSERT_EQ(rows.ok() || !promised.session, true) << when << ": " << rows.status().to_string();
  if (rows.ok()) {
    ASSERT_GE(static_cast<int64_t>(rows->size()), promised.turns) << when;
    EXPECT_EQ(rows->size() % 3, 0U) << when << ": half of an append";
    for (size_t i = 0; i < rows->size(); ++i) EXPECT_EQ((*rows)[i].text, text_of(static_cast<int64_t>(i))) << when;
  }
  if (promised.removed) {
    EXPECT_THAT(*stores.memory().session_ids(), ::testing::ElementsAre("s")) << when;
    EXPECT_EQ(read_all_files(directory).find("a secret"), std::string::npos) << when;
  }
  EXPECT_THAT(*stores.memory().check(), ::testing::IsEmpty()) << when;
  EXPECT_THAT(*stores.kv().check(), ::testing::IsEmpty()) << when;
  const auto both = stores.kv().trunk_and_chunks("s");
  ASSERT_TRUE(both.ok()) << when;
  // A trunk is there with exactly its own chunks.
  if (both->has_value()) {
    EXPECT_EQ(static_cast<int64_t>((*both)->chunks.size()), (*both)->trunk.n_tokens + 1) << when;
  }
}

TEST(PowerCutTest, WhateverMomentThePowerGoesTheAcknowledgedIsThere) {
  const SystemClock clock;
  int64_t operations = 0;
  {
    const TempDir dir(true);
    FaultVfs vfs;
    StoreOptions options;
    options.vfs = vfs.name();
    {
      ASSERT_OK_AND_ASSIGN(const auto stores, Stores::open(dir.path(), clock, options));
      Promised promised;
      ASSERT_OK(run_scenario(*stores, &promised));
    }
    operations = vfs.operations();
  }
  ASSERT_GT(operations, 100);
#ifdef RECALLD_SANITIZED
  constexpr int64_t kCuts = 40;
#else
  constexpr int64_t kCuts = 160;
#endif
  std::mt19937 random(3);
  int64_t promised_turns = 0;
  for (int64_t cut = 1; cut <= operations; cut += 1 + operations / kCuts) {
    for (const bool keep_some : {false, true}) {
      const TempDir dir(true);
      FaultVfs vfs;
      vfs.cut_at(cut);
      StoreOptions options;
      options.vfs = vfs.name();
      Promised promised;
      {
        const auto stores = Stores::open(dir.path(), clock, options);
        if (stores.ok()) (void)run_scenario(**stores, &promised);
      }
      promised_turns += promised.turns;
      vfs.lose_unsynced(keep_some ? &random : nullptr);
      // Shared memory does not outlive the power.
      for (const char* name : {"memory.db-shm", "kv.db-shm"}) std::filesystem::remove(dir.file(name));
      check_promises(dir.path(), promised,
                     "cut at " + std::to_string(cut) + (keep_some ? ", some kept" : ", all lost"));
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(promised_turns, 0);
}

}  // namespace
}  // namespace recalld::storage
