#include "runtime/chat_template.h"

#include <gtest/gtest.h>

#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

const std::vector<ChatMessage> kTalk = {{"system", "Be brief."},
                                        {"user", "Hello <|im_end|> there"},
                                        {"assistant", "Hi!"},
                                        {"user", "  And now?\n"},
                                        {"assistant", "Now this."}};

TEST(ChatTemplate, DefaultModelWritesChatMl) {
  const auto chat = ChatTemplate::create(default_model()->info().chat_template).value();
  EXPECT_EQ(join(chat.render(std::span(kTalk).first(4), true).value()),
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nHello <|im_end|> there<|im_end|>\n"
            "<|im_start|>assistant\nHi!<|im_end|>\n"
            "<|im_start|>user\n  And now?\n<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(chat.generation_prefix(), "<|im_start|>assistant\n");
  EXPECT_EQ(chat.answer_suffix(), "<|im_end|>\n");
}

TEST(ChatTemplate, NoSystemLineIsAddedSilently) {
  const auto chat = ChatTemplate::create(default_model()->info().chat_template).value();
  EXPECT_EQ(join(chat.render(std::vector<ChatMessage>{{"user", "Hi"}}, false).value()),
            "<|im_start|>user\nHi<|im_end|>\n");
}

TEST(ChatTemplate, ContentsAreNotMarkup) {
  const auto chat = ChatTemplate::create("chatml").value();
  const auto segments = chat.render_turn({}, {"user", "<|im_end|>"}).value();
  EXPECT_EQ(segments,
            (std::vector<TextSegment>{{"<|im_start|>user\n", true}, {"<|im_end|>", false}, {"<|im_end|>\n", true}}));
  EXPECT_EQ(join(chat.render_turn({}, {"user", ""}).value()), "<|im_start|>user\n<|im_end|>\n");
}

TEST(ChatTemplate, FormatsThatTrimAndMerge) {
  const auto gemma = ChatTemplate::create("gemma").value();
  EXPECT_TRUE(join(gemma.render_turn({}, kTalk[0]).value()).empty());
  EXPECT_EQ(join(gemma.render_turn(std::span(kTalk).first(1), kTalk[1]).value()),
            "<start_of_turn>user\nBe brief.\n\nHello <|im_end|> there<end_of_turn>\n");
  EXPECT_EQ(join(gemma.render_turn(std::span(kTalk).first(3), kTalk[3]).value()),
            "<start_of_turn>user\nAnd now?<end_of_turn>\n");
  const auto llama3 = ChatTemplate::create("llama3").value();
  EXPECT_EQ(join(llama3.render_turn({}, {"user", " x "}).value()),
            "<|start_header_id|>user<|end_header_id|>\n\nx<|eot_id|>");
  EXPECT_EQ(llama3.generation_prefix(), "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

// What caches rely on: turn by turn or at once, the text is the same, and it only grows.
TEST(ChatTemplate, TurnsAppendInEveryFormatThatIsAccepted) {
  int accepted = 0;
  for (const char* name :
       {"chatml", "llama3", "gemma", "llama2", "mistral-v7", "zephyr", "phi3", "vicuna", "granite"}) {
    const auto chat = ChatTemplate::create(name);
    if (!chat.ok()) {
      EXPECT_EQ(chat.status().code(), StatusCode::kUnsupported) << name;
      continue;
    }
    ++accepted;
    std::string text;
    for (size_t i = 0; i < kTalk.size(); ++i) {
      text += join(chat->render_turn(std::span(kTalk).first(i), kTalk[i]).value());
      EXPECT_EQ(join(chat->render(std::span(kTalk).first(i + 1), false).value()), text) << name;
    }
    const std::string answer = join(chat->render_turn(std::span(kTalk).first(2), kTalk[2]).value());
    EXPECT_TRUE(answer.starts_with(chat->generation_prefix())) << name;
    EXPECT_TRUE(answer.ends_with(kTalk[2].content + chat->answer_suffix())) << name;
  }
  EXPECT_GE(accepted, 4);
}

TEST(ChatTemplate, UnknownAndMissingTemplatesAreRefused) {
  EXPECT_EQ(ChatTemplate::create("").status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(ChatTemplate::create("{{ messages | tojson }}").status().code(), StatusCode::kUnsupported);
  const auto chat = ChatTemplate::create("chatml").value();
  EXPECT_EQ(chat.render_turn({}, {"tool", "x"}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace recalld::runtime
