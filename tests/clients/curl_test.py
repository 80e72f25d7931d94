"""curl, as docs and people use it, against a real daemon."""

import json
import subprocess
import unittest

from client_case import KEY, ClientCase


class Curl(ClientCase):
    def curl(self, path, *args, body=None, timeout=120):
        command = ["curl", "-sS", "-N", "--max-time", str(timeout), "-H", "Authorization: Bearer " + KEY, *args]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        result = subprocess.run([*command, self.daemon.address + path], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def events(self, text):
        """The data of each event; the stream's form is checked on the way."""
        data = []
        for event in text.split("\n\n"):
            for line in event.splitlines():
                self.assertTrue(line.startswith("data: ") or line.startswith(":"), line)
                if line.startswith("data: "):
                    data.append(line[6:])
        return data

    def test_streamed_chat_of_several_turns(self):
        session = json.loads(self.curl("/v1/sessions", "-X", "POST"))["id"]
        for turn, text in enumerate(("I live in Rotterdam.", "Where do I live?")):
            data = self.events(self.curl("/v1/chat/completions", "-H", "X-Recalld-Session: " + session, body={
                "messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": 20, "temperature": 0}))
            self.assertEqual(data[-1], "[DONE]")
            chunks = [json.loads(d) for d in data[:-1]]
            self.assertEqual(chunks[0]["choices"][0]["delta"]["role"], "assistant")
            self.assertEqual(len({c["id"] for c in chunks}), 1)
            answer = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
            self.assertEqual(chunks[-1]["recall"]["user_turn"], 2 * turn)
            self.assertEqual(answer.strip(), self.transcript(session)[-1][1].strip())
        self.assertGreater(chunks[-1]["recall"]["tokens_reused"], 0, "the first turn was not remembered")

    def test_headers_and_keep_alive(self):
        out = self.curl("/health", "-D", "-", self.daemon.address + "/ready", "-H", "X-Request-Id: abc")
        self.assertIn('"status":"ok"', out)
        self.assertIn('"status":"ready"', out)
        self.assertEqual(out.lower().count("x-request-id: abc"), 2)

    def test_http_1_0(self):
        self.assertIn("ok", self.curl("/health", "--http1.0"))

    def test_metrics(self):
        text = self.curl("/metrics")
        self.assertIn("recalld_build_info{", text)
        for line in text.splitlines():
            self.assertRegex(line, r'^(#.*|[a-z_]+(\{.*\})? [-+.0-9eE]+|)$')


if __name__ == "__main__":
    unittest.main()
