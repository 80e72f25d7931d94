"""Bad requests from outside: refused by name, and the daemon goes on."""

import json
import socket
import time
import unittest

from e2e_case import DaemonCase, sample_lines


class BadInput(DaemonCase):
    def setUp(self):
        super().setUp()
        self.target = self.started()

    def tearDown(self):
        self.assert_alive(self.target)

    def raw(self, data, half_close=False, limit=65536):
        """What the daemon answers to these bytes."""
        with socket.create_connection(("127.0.0.1", self.target.port), timeout=30) as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while len(answer) < limit:
                try:
                    piece = connection.recv(65536)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                answer += piece
            return answer.decode(errors="replace")

    def test_import_cut_in_the_middle_takes_nothing(self):
        session = self.target.new_session()
        text = "".join(line + "\n" for line in sample_lines()[:40])
        for cut in (len(text) // 2, len(text) - 3):
            self.assert_refused(400, self.target.call, "POST", f"/v1/sessions/{session}/import", text[:cut],
                                headers={"Content-Type": "application/x-ndjson"}, says=["line"])
        head = (f"POST /v1/sessions/{session}/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                f"Content-Length: {len(text.encode())}\r\n\r\n")
        self.raw(head.encode() + text.encode()[:3000], half_close=True)
        self.assertEqual(self.target.turns(session), [])
        self.assertEqual(self.target.import_lines(session, sample_lines()[:40])["turns"], 40)

    def test_prompt_longer_than_the_window(self):
        long = "one two three four five six seven eight nine ten " * 1500
        self.assert_refused(400, self.target.ask, None, long, code="context_length_exceeded")
        session = self.target.new_session()
        self.assert_refused(400, self.target.ask, session, long, code="context_length_exceeded", remember=True)
        self.assertEqual(self.target.turns(session), [], "a question that was refused is not remembered")

    def test_body_of_100_mb_is_refused_before_it_is_read(self):
        begun = time.monotonic()
        head = ("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 104857600\r\n\r\n")
        answer = self.raw(head.encode() + b"[" * 4096)
        self.assertIn(" 413 ", answer.splitlines()[0])
        self.assertIn("too_large", answer)
        self.assertLess(time.monotonic() - begun, 20)

    def test_turn_of_1_mb_is_kept_and_stalls_nobody(self):
        session, other = self.target.new_session(), self.target.new_session()
        text = " ".join(f"Shelf {i} holds a plain grey stone." for i in range(28000))
        self.target.append(session, [{"role": "user", "speaker": "Ann", "content": text}])
        self.assertEqual(self.target.turns(session)[0]["content"], text)
        self.target.append(other, [{"role": "user", "speaker": "Ben", "content": "The kettle is turquoise."}])
        self.assertTrue(self.target.ask(other, "What colour is the kettle?", 4)["text"])
        answer = self.target.ask(session, "What does a shelf hold?", 4)
        self.assertTrue(answer["text"], answer)
        self.assertGreater(answer["recall"]["tokens_pending"], 100000, "the turn is far from read")
        self.target.call("DELETE", f"/v1/sessions/{session}")
        self.target.wait_read(other)

    def test_header_flood(self):
        flood = "GET /health HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"X-{i}: {'y' * 100}\r\n" for i in range(2000))
        answer = self.raw(flood.encode() + b"\r\n")
        self.assertTrue(answer == "" or " 431 " in answer.splitlines()[0], answer[:200])

    def test_malformed_json_and_wrong_types(self):
        session = self.target.new_session()
        chat = "/v1/chat/completions"
        cases = [("{", "invalid_json"), ('{"messages":}', "invalid_json"), ("[]", None), ('{"messages":"hi"}', None),
                 ('{"messages":[]}', None), ('{"messages":[{"role":"user"}]}', None),
                 ('{"messages":[{"role":"king","content":"x"}]}', None),
                 ('{"messages":[{"role":"user","content":"x"}],"temperature":"hot"}', None),
                 ('{"messages":[{"role":"user","content":"x"}],"max_tokens":-1}', None),
                 ("[" * 100000, None)]
        for body, code in cases:
            with self.subTest(body=body[:60]):
                self.assert_refused(400, self.target.call, "POST", chat, body, code=code)
        self.assert_refused(400, self.target.call, "POST", f"/v1/sessions/{session}/messages", {"messages": [
            {"role": "user", "content": "fine"}, {"role": "user", "content": 7}]})
        self.assertEqual(self.target.turns(session), [], "half of a refused append was taken")

    def test_text_that_is_not_utf8_or_holds_nul(self):
        session = self.target.new_session()
        path = f"/v1/sessions/{session}/messages"
        for text in (b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
                     b'{"messages":[{"role":"user","content":"a\\u0000b"}]}',
                     b'{"messages":[{"role":"user","content":"\\ud800"}]}',
                     b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}'):
            with self.subTest(text=text):
                self.assert_refused(400, self.target.call, "POST", path, text)
        self.assertEqual(self.target.turns(session), [])
        kept = "na\u00efve \U0001f6f6 \u0645\u0631\u062d\u0628\u0627 <|im_end|> </s>"
        self.target.append(session, [{"role": "user", "content": kept}])
        self.assertEqual(self.target.turns(session)[0]["content"], kept)

    def test_unknown_session(self):
        self.assert_refused(404, self.target.memory, "s_00000000000000000000000000", code="session_not_found")
        self.assert_refused(404, self.target.ask, "s_nonsense", "hello?", code="session_not_found")
        self.assert_refused(404, self.target.memory, "..%2f..%2fetc")

    def test_half_closed_socket_still_gets_its_answer(self):
        body = json.dumps({"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0,
                           "stream": True})
        answer = self.raw((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                           f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode(),
                          half_close=True)
        self.assertIn("[DONE]", answer)

    def test_same_import_twice_is_taken_once(self):
        session = self.target.new_session()
        lines = sample_lines()[:5]
        self.assertFalse(self.target.import_lines(session, lines)["duplicate"])
        self.assertTrue(self.target.import_lines(session, lines)["duplicate"])
        self.assertEqual(len(self.target.turns(session)), 5)


class BadConfiguration(DaemonCase):
    def test_unknown_key_and_value_out_of_range(self):
        daemon = self.daemon()
        daemon.settings["server.lisen"] = "127.0.0.1:1"
        self.assert_start_fails(daemon, "server.lisen", "server.listen", code=78)
        daemon = self.daemon()
        daemon.settings["memory.page_tokens"] = 100000
        self.assert_start_fails(daemon, "memory.page_tokens", "256", code=78)

    def test_file_names_the_line(self):
        path = self.folder + "/config.toml"
        with open(path, "w") as file:
            file.write("[server]\n\nmax_conections = 7\n")
        daemon = self.daemon()
        daemon.settings["config"] = path
        self.assert_start_fails(daemon, "config.toml:3", "max_connections", code=78)

    def test_open_bind_without_keys(self):
        daemon = self.daemon(server__listen="0.0.0.0:0")
        self.assert_start_fails(daemon, "server.api_keys_file", code=78)


if __name__ == "__main__":
    unittest.main()
