#include <sqlite3.h>

#include <bit>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "quant/page.h"
#include "quant/rest.h"
#include "tests/service/service_fixture.h"

namespace recalld::daemon {
namespace {

class MemoryTest : public ServiceTest {
 protected:
  void sql(const std::string& file, const std::string& statement) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((options_.data_dir + "/" + file).c_str(), &database), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, statement.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(database);
  }
  // Overwrites bytes of a stored chunk, behind the daemon's back.
  void damage_chunk(int idx, int at) {
    const std::string offset = std::to_string(at), rest = std::to_string(at + 4);
    sql("kv.db", "UPDATE payloads SET bytes = CAST(substr(bytes, 1, " + offset + ") || x'5aa55a' || substr(bytes, " +
                     rest + ") AS BLOB) WHERE id = (SELECT payload FROM chunks WHERE idx = " + std::to_string(idx) +
                     ")");
  }
  // Where the newest rows are stored.
  int newest_chunk() {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open((options_.data_dir + "/kv.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* get = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(database, "SELECT idx FROM chunks WHERE kind = 1 ORDER BY idx DESC LIMIT 1", -1, &get,
                                 nullptr),
              SQLITE_OK);
    EXPECT_EQ(sqlite3_step(get), SQLITE_ROW) << "all rows are in pages";
    const int idx = sqlite3_column_int(get, 0);
    sqlite3_finalize(get);
    sqlite3_close(database);
    return idx;
  }
  // Changes the headers of a stored chunk's pages, all checksums made right.
  void change_pages(int idx, const std::function<void(quant::PageMeta&)>& change) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((options_.data_dir + "/kv.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* get = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(database,
                                 "SELECT id, bytes FROM payloads WHERE id = (SELECT payload FROM chunks WHERE idx = ?)",
                                 -1, &get, nullptr),
              SQLITE_OK);
    sqlite3_bind_int(get, 1, idx);
    ASSERT_EQ(sqlite3_step(get), SQLITE_ROW);
    const int64_t id = sqlite3_column_int64(get, 0);
    const std::span<const std::byte> packed(static_cast<const std::byte*>(sqlite3_column_blob(get, 1)),
                                            static_cast<size_t>(sqlite3_column_bytes(get, 1)));
    AlignedBuffer pages(quant::inspect_rest(packed).value().resident_bytes);
    ASSERT_TRUE(quant::decode_rest(packed, pages.span()).ok());
    sqlite3_finalize(get);
    for (std::span<std::byte> left = pages.span(); !left.empty();) {
      const quant::PageView page = quant::parse_page_prefix(left).value();
      quant::PageMeta meta = page.meta;
      change(meta);
      quant::write_page_header(page.codec, meta, left.first(page.bytes.size()));
      left = left.subspan(page.bytes.size());
    }
    const std::vector<std::byte> again = quant::encode_rest(pages.span()).value();
    sqlite3_stmt* put = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(database, "UPDATE payloads SET bytes = ? WHERE id = ?", -1, &put, nullptr), SQLITE_OK);
    sqlite3_bind_blob(put, 1, again.data(), static_cast<int>(again.size()), SQLITE_STATIC);
    sqlite3_bind_int64(put, 2, id);
    ASSERT_EQ(sqlite3_step(put), SQLITE_DONE);
    sqlite3_finalize(put);
    sqlite3_close(database);
    sql("kv.db", "UPDATE chunks SET n_bytes = " + std::to_string(again.size()) +
                     ", checksum = " + std::to_string(std::bit_cast<int64_t>(checksum64(again))) +
                     " WHERE payload = " + std::to_string(id));
  }
  // What `damage` does to a closed session's chunks is found when the session is next asked, and made good.
  void expect_healed(const std::function<void()>& damage) {
    reopen();
    const std::string session = new_session();
    ASSERT_TRUE(service_->import("local", session, talk(40), "d").ok());
    settle(session);
    const std::string before = ask(session, "What colour is the door?", 12, false).value().text;
    close();
    damage();
    reopen();
    ask(session, "What colour is the door?", 4, false).value();
    const MemoryInfo info = settle(session);
    EXPECT_GT(info.pages_dropped, 0);
    EXPECT_EQ(ask(session, "What colour is the door?", 12, false).value().text, before);
  }
  std::string raw(const std::string& file) {
    std::ifstream stream(options_.data_dir + "/" + file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
};

TEST_F(MemoryTest, AnImportIsReadInTheBackgroundAndCompressed) {
  reopen();
  const std::string session = new_session();
  const ImportResult imported = service_->import("local", session, talk(40), "digest-1").value();
  EXPECT_EQ(imported.turns, 40);
  EXPECT_FALSE(imported.duplicate);
  const MemoryInfo info = settle(session);
  EXPECT_EQ(info.turns, 40);
  EXPECT_GT(info.tokens_ready, 700);
  EXPECT_EQ(info.tokens_total, info.tokens_ready);
  EXPECT_LT(info.bytes_disk, info.bytes_f16);
  EXPECT_EQ(info.codec, "trellis-4");
  const ImportResult again = service_->import("local", session, talk(40), "digest-1").value();
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(service_->session("local", session).value().turns, 40);
}

TEST_F(MemoryTest, AnswersAreTheSameAfterARestart) {
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(40), "d").ok());
  settle(session);
  const ChatResult before = ask(session, "What colour is the door at number 41?", 16, false).value();
  EXPECT_GT(before.recall.tokens_reused, 700);
  EXPECT_LT(before.recall.view_bytes, before.recall.view_f16_bytes);
  reopen();
  const ChatResult after = ask(session, "What colour is the door at number 41?", 16, false).value();
  EXPECT_EQ(after.text, before.text);
  EXPECT_EQ(after.recall.tokens_reused, before.recall.tokens_reused);
  EXPECT_EQ(after.recall.tokens_read, before.recall.tokens_read);
}

TEST_F(MemoryTest, ReadingGoesOnAfterAnInterruption) {
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(60), "d").ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  reopen();
  const MemoryInfo info = settle(session);
  EXPECT_EQ(info.pages_dropped, 0);
  const std::string interrupted = ask(session, "How far did Ann walk?", 12, false).value().text;
  const std::string twin = new_session();
  ASSERT_TRUE(service_->import("local", twin, talk(60), "d").ok());
  EXPECT_EQ(settle(twin).tokens_ready, info.tokens_ready);
  EXPECT_EQ(ask(twin, "How far did Ann walk?", 12, false).value().text, interrupted);
}

TEST_F(MemoryTest, ADamagedPageIsDroppedCountedAndReadAnew) {
  expect_healed([this] { damage_chunk(2, 5000); });
}

// Whole to every checksum, but of a layer that the model does not have.
TEST_F(MemoryTest, APageOfNoLayerIsDroppedCountedAndReadAnew) {
  expect_healed([this] { change_pages(2, [](quant::PageMeta& meta) { meta.layer += 1000; }); });
}

TEST_F(MemoryTest, NewestRowsOfNoLayerAreDroppedCountedAndReadAnew) {
  expect_healed([this] { change_pages(newest_chunk(), [](quant::PageMeta& meta) { meta.layer += 1000; }); });
}

TEST_F(MemoryTest, AnotherCodecMeansAnotherMemoryAndTheSameTranscript) {
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(30), "d").ok());
  const MemoryInfo four = settle(session);
  options_.codec = "turboquant-2";
  reopen();
  const MemoryInfo two = settle(session);
  EXPECT_EQ(two.codec, "turboquant-2");
  EXPECT_EQ(two.tokens_ready, four.tokens_ready);
  EXPECT_LT(two.bytes_disk, four.bytes_disk);
  EXPECT_TRUE(ask(session, "Who walked?", 6, false).ok());
}

TEST_F(MemoryTest, AHistoryLongerThanTheWindowIsServedFromItsNewestPart) {
  options_.context = 1024;
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(80), "d").ok());
  const MemoryInfo info = settle(session);
  EXPECT_GT(info.tokens_ready, 1500);
  const ChatResult result = ask(session, "What happened on day 79?", 12, false).value();
  EXPECT_LE(result.recall.tokens_reused, 1024 - 256);
  EXPECT_GT(result.recall.tokens_reused, 400);
  reopen();
  const ChatResult after = ask(session, "What happened on day 79?", 12, false).value();
  EXPECT_EQ(after.text, result.text);
  EXPECT_EQ(after.recall.tokens_reused, result.recall.tokens_reused);
  EXPECT_EQ(after.recall.tokens_pending, 0);
  EXPECT_EQ(settle(session).pages_dropped, 0);
}

TEST_F(MemoryTest, WhatIsNotReadYetIsNotForgotten) {
  options_.catch_up_tokens = 200;
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(60), "d").ok());
  const ChatResult early = ask(session, "What happened on day 59?", 8, false).value();
  EXPECT_GT(early.recall.tokens_pending, 0) << "the question was answered before all was read";
  EXPECT_GT(early.recall.tokens_read, 100) << "the newest turns are read with the question";
  settle(session);
  EXPECT_EQ(ask(session, "What happened on day 59?", 8, false).value().recall.tokens_pending, 0);
}

TEST_F(MemoryTest, ASmallMemoryLimitEvictsOtherSessionsNotAnswers) {
  reopen();
  std::vector<std::string> sessions;
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(new_session());
    ASSERT_TRUE(service_->import("local", sessions.back(), talk(30, "colour" + std::to_string(i)), "d").ok());
    settle(sessions.back());
    answers.push_back(ask(sessions.back(), "What colour is the door?", 8, false).value().text);
  }
  options_.ram_bytes = 24'000'000;
  reopen();
  for (int round = 0; round < 2; ++round)
    for (size_t i = 0; i < sessions.size(); ++i)
      EXPECT_EQ(ask(sessions[i], "What colour is the door?", 8, false).value().text, answers[i]);
  for (const Service::Metric& metric : service_->metrics())
    if (metric.name == "recalld_kv_ram_peak_bytes") {
      EXPECT_LE(metric.value, 24'000'000);
    }
}

TEST_F(MemoryTest, APrincipalSeesItsOwnSessionsAlone) {
  reopen();
  const std::string mine = new_session("plain", "alice");
  ASSERT_TRUE(service_->append("alice", mine, talk(4, "crimson")).ok());
  settle(mine, "alice");
  EXPECT_EQ(service_->session("bob", mine).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(service_->turns("bob", mine, 0, -1).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(service_->append("bob", mine, talk(1)).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(service_->remove_session("bob", mine).code(), StatusCode::kNotFound);
  EXPECT_EQ(ask(mine, "What colour?", 4, false, "bob").status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(service_->sessions("bob").value().empty());
}

TEST_F(MemoryTest, ADeletedSessionLeavesNothingBehind) {
  reopen();
  const std::string kept = new_session(), gone = new_session();
  ASSERT_TRUE(service_->append("local", kept, talk(6, "ultramarine")).ok());
  ASSERT_TRUE(service_->append("local", gone, talk(6, "vermilion")).ok());
  settle(kept);
  settle(gone);
  ASSERT_TRUE(service_->remove_session("local", gone).ok());
  EXPECT_EQ(service_->session("local", gone).status().code(), StatusCode::kNotFound);
  close();
  for (const std::string file : {"memory.db", "memory.db-wal", "kv.db", "kv.db-wal"}) {
    EXPECT_EQ(raw(file).find("vermilion"), std::string::npos) << file;
    EXPECT_EQ(raw(file).find(gone), std::string::npos) << file;
  }
  EXPECT_NE(raw("memory.db").find("ultramarine"), std::string::npos);
}

TEST_F(MemoryTest, AFullDiskForKvCostsTimeNotAnswers) {
  options_.disk_bytes = 3'000'000;
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(60), "d").ok());
  for (int i = 0; i < 600 && service_->memory("local", session).value().tokens_pending + 0 > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(ask(session, "Who walked?", 6, false).ok());
}

TEST_F(MemoryTest, VerifyNamesADamagedChunk) {
  reopen();
  const std::string session = new_session();
  ASSERT_TRUE(service_->import("local", session, talk(30), "d").ok());
  settle(session);
  for (const StoreCheck& check : service_->verify().value()) EXPECT_TRUE(check.ok) << check.name;
  close();
  damage_chunk(1, 900);
  reopen();
  const auto checks = service_->verify().value();
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_TRUE(checks[0].ok);
  EXPECT_FALSE(checks[1].ok);
  EXPECT_NE(checks[1].problems.at(0).find(session), std::string::npos);
}

TEST_F(MemoryTest, BadOptionsAndModelsAreNamedAtStart) {
  const auto open = [&] { return open_service(options_, clock_, [](LogLevel, const std::string&) {}).status(); };
  const ServiceOptions good = options_;
  options_.codec = "zip";
  EXPECT_NE(open().message().find("zip"), std::string::npos);
  options_ = good;
  options_.near_codec = "calibrated-4";
  EXPECT_NE(open().message().find("young pages cannot be calibrated-4"), std::string::npos);
  options_ = good;
  options_.archive = "zip";
  EXPECT_NE(open().message().find("there is no archive 'zip'"), std::string::npos);
  options_ = good;
  options_.codec = "turboquant-3";
  options_.archive = "archive-4";
  EXPECT_NE(open().message().find("memory.at_rest is archive-4"), std::string::npos);
  options_ = good;
  options_.model_path = "/nonexistent/model.gguf";
  EXPECT_NE(open().message().find("/nonexistent/model.gguf"), std::string::npos);
  options_ = good;
  options_.model_sha256 = std::string(64, '0');
  EXPECT_EQ(open().code(), StatusCode::kCorrupt);
  options_ = good;
  options_.block_tokens = 8;
  EXPECT_NE(open().message().find("block_tokens"), std::string::npos);
  options_ = good;
  options_.reading_view_tokens = 100;
  EXPECT_NE(open().message().find("view_tokens is 100"), std::string::npos);
  options_ = good;
  reopen();
  EXPECT_EQ(open().code(), StatusCode::kFailedPrecondition) << "a second daemon on the same directory";
}

}  // namespace
}  // namespace recalld::daemon
