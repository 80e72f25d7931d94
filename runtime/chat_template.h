// How a conversation is written for the model, turn by turn.
//
// Formats are libllama's built-in ones, recognised by the model's own template string. Nothing is added that the caller
// did not say: no default system line. Turns are appended: the text of a conversation is a prefix of the text of the
// same conversation with one more turn, so that a cache can grow by turns. Templates that break this are refused.
//
// Immutable; any thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/text_segment.h"

namespace recalld::runtime {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // template_text: tokenizer.chat_template of the model, or the name of a format ("chatml").
  // kUnsupported when it is empty, unknown, or not append-only: write turns in the plain style then.
  static Result<ChatTemplate> create(const std::string& template_text);

  // The text that `turn` adds after the messages `before`; contents are marked as no markup. Some formats hold a system
  // message back and write it with the next user turn: its own text is then empty.
  // kInvalidArgument for a role other than the three.
  Result<std::vector<TextSegment>> render_turn(std::span<const ChatMessage> before, const ChatMessage& turn) const;

  // All turns, then, if asked for, what makes the model answer.
  Result<std::vector<TextSegment>> render(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

  // What stands before the assistant's words after a user turn ("<|im_start|>assistant\n"), and what ends them
  // ("<|im_end|>\n"). The text of an assistant message is prefix + content + suffix; a few formats write a space after
  // the prefix that the model would write itself.
  const std::string& generation_prefix() const { return generation_prefix_; }
  const std::string& answer_suffix() const { return answer_suffix_; }

 private:
  std::string template_text_;
  std::string generation_prefix_;
  std::string answer_suffix_;
};

}  // namespace recalld::runtime
