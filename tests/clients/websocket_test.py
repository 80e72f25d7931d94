"""A WebSocket client, unmodified, against a real daemon."""

import json
import socket
import threading
import time
import unittest

from client_case import KEY, ClientCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


class WebSocket(ClientCase):
    def open(self, session, key=KEY, **keywords):
        address = self.daemon.address.replace("http", "ws") + f"/v1/sessions/{session}/ws"
        return connect(address, additional_headers={"Authorization": "Bearer " + key}, open_timeout=30,
                       close_timeout=10, **keywords)

    def ask(self, socket, text, id_, **options):
        """The events of one answer."""
        socket.send(json.dumps({"type": "message", "content": text, "id": id_,
                                "options": {"max_tokens": 16, "temperature": 0, **options}}))
        events = []
        while not events or events[-1]["type"] not in ("done", "error"):
            events.append(json.loads(socket.recv(timeout=120)))
        return events

    def test_chat_of_several_turns(self):
        session = self.new_session()
        with self.open(session) as socket:
            for turn, text in enumerate(("My name is Nadia.", "What is my name?", "Thank you.")):
                events = self.ask(socket, text, f"q{turn}")
                self.assertEqual(events[0], {"type": "start", "id": f"q{turn}", "user_turn": 2 * turn})
                self.assertEqual({e["id"] for e in events}, {f"q{turn}"})
                deltas = [e["text"] for e in events if e["type"] == "delta"]
                done = events[-1]
                self.assertEqual(done["type"], "done", done)
                self.assertGreater(len(deltas), 1)
                self.assertEqual("".join(deltas).strip(), done["text"].strip())
                self.assertEqual(done["recall"]["assistant_turn"], 2 * turn + 1)
                if turn:
                    self.assertGreater(done["recall"]["tokens_reused"], 0)
        self.assertEqual(len(self.transcript(session)), 6)

    def test_ping_cancel_busy_and_nonsense(self):
        with self.open(self.new_session()) as socket:
            socket.send(json.dumps({"type": "ping", "id": "p"}))
            self.assertEqual(json.loads(socket.recv(timeout=30)), {"type": "pong", "id": "p"})
            socket.send(json.dumps({"type": "message", "content": "Count to ten thousand.", "id": "long"}))
            while json.loads(socket.recv(timeout=60))["type"] != "delta":
                pass
            socket.send(json.dumps({"type": "message", "content": "me too", "id": "second"}))
            events = []
            while not events or events[-1]["type"] != "error":
                events.append(json.loads(socket.recv(timeout=60)))
            self.assertEqual((events[-1]["id"], events[-1]["error"]["code"]), ("second", "busy"))
            socket.send(json.dumps({"type": "cancel"}))
            while not (events[-1]["type"] == "error" and events[-1]["id"] == "long"):
                events.append(json.loads(socket.recv(timeout=60)))
            self.assertEqual(events[-1]["error"]["code"], "cancelled")
            for nonsense in ("{", "[]", '{"type":"dance"}', '{"type":"message"}'):
                socket.send(nonsense)
                self.assertEqual(json.loads(socket.recv(timeout=30))["type"], "error", nonsense)
            self.assertEqual(self.ask(socket, "hello", "q")[-1]["type"], "done")

    def test_refusals(self):
        with self.assertRaises(InvalidStatus) as caught:
            self.open("s_00000000000000000000000000")
        self.assertEqual(caught.exception.response.status_code, 404)
        with self.assertRaises(InvalidStatus) as caught:
            self.open(self.new_session(), key="sk-wrong")
        self.assertEqual(caught.exception.response.status_code, 401)
        with self.open(self.new_session()) as socket:
            socket.send(b"\x00\x01")
            with self.assertRaises(ConnectionClosed):
                socket.recv(timeout=30)
            self.assertEqual(socket.protocol.close_code, 1003)

    def test_an_idle_client_that_answers_pings_stays(self):
        with self.open(self.new_session()) as socket:
            time.sleep(2.5)  # five ping intervals
            self.assertEqual(self.ask(socket, "still here", "q")[-1]["type"], "done")

    def test_a_slow_reader_stalls_nobody(self):
        """One client asks for a long stream and reads nothing; others are answered as if it were not there."""
        session = self.new_session()
        body = json.dumps({"messages": [{"role": "user", "content": "Count to ten thousand."}], "stream": True,
                           "max_tokens": 1500, "temperature": 0})
        slow = socket.socket()
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", self.daemon.port))
        slow.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                      f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        time.sleep(1)
        answered = []

        def fast():
            with self.open(session) as quick:
                for i in range(3):
                    answered.append(self.ask(quick, "hello", f"q{i}", max_tokens=4)[-1]["type"])

        thread = threading.Thread(target=fast)
        thread.start()
        thread.join(90)
        self.assertEqual(answered, ["done"] * 3)
        self.assertEqual(self.daemon.request("GET", "/health")[0], 200)


if __name__ == "__main__":
    unittest.main()
