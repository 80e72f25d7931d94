// The parts of recallctl that need no server.

#include <gtest/gtest.h>

#include "app/recallctl/address.h"
#include "app/recallctl/draw.h"
#include "app/recallctl/event_stream.h"
#include "app/recallctl/http_client.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {
namespace {

std::vector<std::string> events_of(const std::vector<std::string>& pieces) {
  std::vector<std::string> events;
  EventStream stream([&](const std::string& data) { events.push_back(data); });
  for (const std::string& piece : pieces) stream.feed(piece);
  return events;
}

TEST(EventStream, JoinsPiecesCutAnywhere) {
  const std::string text =
      ": keep-alive\n\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\nevent: x\nid: 4\n\ndata: [DONE]\n\n";
  const std::vector<std::string> expected{"{\"a\":1}", "two\nlines", "[DONE]"};
  for (size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(events_of({text.substr(0, cut), text.substr(cut)}), expected) << "cut at " << cut;
  std::vector<std::string> bytes;
  for (const char byte : text) bytes.emplace_back(1, byte);
  EXPECT_EQ(events_of(bytes), expected);
}

TEST(EventStream, AnEventWithoutItsBlankLineIsNotOne) { EXPECT_TRUE(events_of({"data: half\n"}).empty()); }

TEST(Address, Forms) {
  EXPECT_EQ(parse_address("http://localhost")->port, "8642");
  EXPECT_EQ(parse_address("http://[::1]:99/")->host_header(), "[::1]:99");
  EXPECT_EQ(parse_address("unix:/run/recalld.sock")->socket_path, "/run/recalld.sock");
  EXPECT_EQ(parse_address("unix:///run/recalld.sock")->socket_path, "/run/recalld.sock");
  for (const char* bad :
       {"", "localhost:8642", "https://x", "ftp://x", "unix:", "http://", "http://x/v1", "http://x:y"}) {
    const auto result = parse_address(bad);
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_NE(result.status().message().find("unix:/path"), std::string::npos) << "no remedy for " << bad;
  }
}

TEST(Text, Numbers) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(int64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(count_text(-123456), "-123,456");
  EXPECT_EQ(duration_text(59.2), "59 s");
  EXPECT_EQ(duration_text(190), "3 min 10 s");
  EXPECT_EQ(duration_text(7500), "2 h 5 min");
  EXPECT_EQ(duration_text(1e300), "?");
}

TEST(Text, ProgressFitsTheLine) {
  for (int columns : {1, 10, 40, 80, 200})
    for (int64_t done : {0, 1, 500, 1000})
      EXPECT_LE(progress_text(done, 1000, 33, columns).size(), static_cast<size_t>(columns));
  EXPECT_NE(progress_text(500, 1000, 50, 80).find("50 %  500/1,000 tokens  50 tokens/s  10 s left"), std::string::npos);
  EXPECT_NE(progress_text(0, 0, 0, 80).find("100 %"), std::string::npos);
}

TEST(Text, TableCountsCharactersNotBytes) {
  EXPECT_EQ(table_text({"A", "B"}, {{"\u00e9\u00e9", "x"}, {"y", "z"}}), "A   B\n\u00e9\u00e9  x\ny   z\n");
}

TEST(Text, AnAnswerCannotDriveTheTerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\tc\n\x7f"), "a?[2Jb\tc\n?");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m \u00e9\u4e2d"),
            "?31m \u00e9\u4e2d");
}

TEST(Draw, CellsAreCutAndFilledByColumns) {
  const Look plain;
  const Look terminal{.columns = 80, .utf8 = true, .blocks = true};
  const Look ascii{.columns = 80, .utf8 = false, .blocks = false};
  EXPECT_EQ(cell("abc", 5, plain), "abc  ");
  EXPECT_EQ(cell("abcdef", 5, plain), "abc..");
  EXPECT_EQ(cell("abcdef", 5, terminal), "abcd\u2026");
  EXPECT_EQ(cell("a\nb\tc\x1b", 6, plain), "a b c?");
  EXPECT_EQ(cell("\u00e9t\u00e9", 4, ascii), "?t? ");
  EXPECT_EQ(cell("", 0, plain), "");
  for (int columns = 0; columns < 12; ++columns)
    EXPECT_EQ(display_columns(cell("caf\u00e9 au lait", columns, terminal)), columns);
}

TEST(Draw, BarsShowWhatIsThere) {
  const Look plain;
  const Look terminal{.columns = 80, .utf8 = true, .blocks = true};
  EXPECT_EQ(bar_text(0, 10, plain), "");
  EXPECT_EQ(bar_text(0.001, 10, plain), "#");
  EXPECT_EQ(bar_text(2, 3, plain), "###");
  EXPECT_EQ(bar_text(0.5, 3, terminal), "\u2588\u258c");
  EXPECT_EQ(bar_text(0.001, 10, terminal), "\u258f");
  EXPECT_EQ(bar_text(0.5, -4, terminal), "");
}

TEST(Draw, Spans) {
  EXPECT_EQ(span_text({}, {}), "no date");
  EXPECT_EQ(span_text(0, 1000), "1 Jan 1970");
  EXPECT_EQ(span_text(0, 86'400'000), "1 Jan - 2 Jan 1970");
  EXPECT_EQ(span_text(-1, 0), "31 Dec 1969 - 1 Jan 1970");
}

TEST(Errors, CarryTheDaemonsMessage) {
  const Status status = error_of_response(507, R"({"error":{"message":"the disk is full"}})");
  EXPECT_EQ(status.code(), StatusCode::kStorageFull);
  EXPECT_EQ(status.message(), "the disk is full");
  EXPECT_EQ(error_of_response(502, "<html>").message(), "the daemon answered HTTP 502");
}

}  // namespace
}  // namespace recalld::recallctl
