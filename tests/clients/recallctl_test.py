"""recallctl as a person or a script meets it: options, output, exit codes, the terminal. Against stub_server.py."""

import codecs
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from stub_server import RECALL, RECALL_BY_QUESTION, SESSION, Stub  # noqa: E402

RECALLCTL = os.path.join(os.environ["RECALLD_BUILD_DIR"], "app/recallctl/recallctl")
CLEAN_ENV = {k: v for k, v in os.environ.items() if not k.startswith("RECALLD_") and k != "TERM"}


def recallctl(*args, server=None, env=None, stdin=""):
    command = [RECALLCTL] + (["--server", server] if server else []) + list(args)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60,
                          env={**CLEAN_ENV, **(env or {})})


class Terminal:
    """recallctl on a pseudo terminal."""

    def __init__(self, *args, columns=80, locale="C.UTF-8"):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execve(RECALLCTL, [RECALLCTL, *args], {**CLEAN_ENV, "TERM": "xterm", "LC_ALL": locale})
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.output = ""
        self.seen = 0
        self.status = None

    def read(self, seconds):
        """Adds what arrives; False when nothing did in time, or nothing can any more."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            self.output += self.decoder.decode(os.read(self.fd, 65536))
            return True
        except OSError:
            time.sleep(seconds)
            return False

    def wait_for(self, text, timeout=20):
        """Waits for text behind the last text waited for."""
        end = time.monotonic() + timeout
        while (found := self.output.find(text, self.seen)) < 0:
            if not self.read(0.2) and time.monotonic() > end:
                raise AssertionError(f"no {text!r} in {self.output[self.seen:]!r}")
        self.seen = found + len(text)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Waits for the end; returns the exit code."""
        for _ in range(400):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0):
                    pass
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
            self.read(0.05)
        raise AssertionError("recallctl did not end: " + self.output)

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


class Errors(unittest.TestCase):
    def test_no_daemon_says_how_to_start_one(self):
        for server in ("http://127.0.0.1:9", "unix:/nonexistent/socket"):
            result = recallctl("sessions", server=server)
            self.assertEqual(result.returncode, 3, result)
            self.assertIn("recalld --config", result.stderr)
            self.assertIn(server, result.stderr)
            self.assertEqual(result.stdout, "")

    def test_wrong_key(self):
        with Stub() as stub:
            stub.state.key = "secret"
            result = recallctl("sessions", server=stub.address)
            self.assertEqual(result.returncode, 4, result)
            self.assertIn("--key-file", result.stderr)
            with tempfile.NamedTemporaryFile("w") as key_file:
                key_file.write("secret\n")
                key_file.flush()
                self.assertEqual(recallctl("--key-file", key_file.name, "sessions", server=stub.address).returncode, 0)
            self.assertEqual(recallctl("sessions", env={"RECALLD_KEY": "secret", "RECALLD_SERVER": stub.address})
                             .returncode, 0)

    def test_unknown_session(self):
        with Stub() as stub:
            for args in (["memory", "s_unknown"], ["delete", "s_unknown"], ["chat", "s_unknown"]):
                result = recallctl(*args, server=stub.address)
                self.assertEqual(result.returncode, 5, (args, result))
                self.assertIn("does not exist", result.stderr)

    def test_session_names_cannot_change_the_path(self):
        with Stub() as stub:
            recallctl("memory", "../../admin/x?y#z", server=stub.address)
            self.assertEqual(stub.state.requests[0][1], "/v1/sessions/..%2F..%2Fadmin%2Fx%3Fy%23z/memory")

    def test_wrong_options(self):
        for args in ([], ["frobnicate"], ["ask", "s_1"], ["--server", "ftp://x", "sessions"],
                     ["--server", "http://h/path", "sessions"], ["import", "f", "--style", "odd"]):
            self.assertEqual(recallctl(*args).returncode, 2, args)

    def test_a_cut_answer_is_an_error(self):
        with Stub() as stub:
            stub.state.cut_stream = True
            result = recallctl("ask", SESSION, "where?", server=stub.address)
            self.assertEqual(result.returncode, 3, result)
            self.assertIn("closed the connection", result.stderr)

    def test_an_error_inside_a_stream_is_told(self):
        with Stub() as stub:
            stub.state.error_in_stream = True
            result = recallctl("ask", SESSION, "where?", server=stub.address)
            self.assertEqual(result.returncode, 1, result)
            self.assertIn("out of pages", result.stderr)

    def test_something_else_on_the_port(self):
        import socket
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = subprocess.Popen([RECALLCTL, "--server", "http://127.0.0.1:%d" % listener.getsockname()[1],
                                        "sessions"], stderr=subprocess.PIPE, text=True, env=CLEAN_ENV)
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            self.assertIn("connection failed", process.communicate(timeout=20)[1])
            self.assertEqual(process.returncode, 3)


class Commands(unittest.TestCase):
    def test_ask_streams_and_reports(self):
        with Stub() as stub:
            result = recallctl("ask", SESSION, "where?", "--max-tokens", "9", "--temperature", "0", "--seed", "7",
                               "--forget", server=stub.address)
            self.assertEqual(result.returncode, 0, result)
            self.assertEqual(result.stdout.splitlines()[0], "At the boathouse.")
            for part in ("41 ms", "5,180 tokens from memory", "24 read", "1.0 MiB", "4.0 MiB"):
                self.assertIn(part, result.stdout)
            sent = json.loads(stub.state.requests[0][3])
            self.assertEqual(sent["metadata"], {"session": SESSION})
            self.assertEqual((sent["max_tokens"], sent["temperature"], sent["seed"], sent["remember"], sent["stream"]),
                             (9, 0, 7, False, True))
            self.assertEqual(sent["messages"], [{"role": "user", "content": "where?"}])

    def test_ask_json(self):
        with Stub() as stub:
            answer = json.loads(recallctl("--json", "ask", SESSION, "where?", server=stub.address).stdout)
            self.assertEqual(answer["answer"], "At the boathouse.")
            self.assertEqual(answer["recall"]["tokens_reused"], 5180)
            self.assertGreater(answer["first_text_ms"], 0)

    def test_over_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder, Stub(folder + "/s") as stub:
            self.assertEqual(recallctl("ask", SESSION, "where?", server=stub.address).returncode, 0)
            self.assertEqual(recallctl("ask", SESSION, "where?", server="unix://" + folder + "/s").returncode, 0)

    def test_sessions_table_hides_control_characters(self):
        with Stub() as stub:
            result = recallctl("sessions", server=stub.address)
            head, row = result.stdout.splitlines()
            self.assertEqual(head.split()[:3], ["SESSION", "TURNS", "STYLE"])
            self.assertEqual(head.index("TITLE"), row.index("Ca\u00f1oe"))
            self.assertNotIn("\x1b", result.stdout)
            self.assertEqual(json.loads(recallctl("--json", "sessions", server=stub.address).stdout)[0]["id"], SESSION)

    def test_memory(self):
        with Stub() as stub:
            text = recallctl("memory", SESSION, server=stub.address).stdout
            for part in ("turboquant-4", "250 of 1,000", "1.0 MiB on disk (4.0x smaller)"):
                self.assertIn(part, text)
            self.assertEqual(json.loads(recallctl("--json", "memory", SESSION, server=stub.address).stdout)["pages"], 30)

    def test_memory_wait(self):
        with Stub() as stub:
            text = recallctl("memory", "--wait", SESSION, server=stub.address).stdout
            self.assertIn("100 %  1,000/1,000 tokens", text)
            self.assertIn("1,000 of 1,000 in memory", text)

    def test_verify(self):
        with Stub() as stub:
            good = recallctl("verify", server=stub.address)
            self.assertEqual((good.returncode, good.stdout), (0, "memory.db: ok\nkv.db: ok\n"))
            stub.state.damaged = True
            bad = recallctl("verify", server=stub.address)
            self.assertEqual(bad.returncode, 6)
            self.assertIn("page 12", bad.stdout)
            self.assertEqual(json.loads(recallctl("--json", "verify", server=stub.address).stdout)["ok"], False)

    def test_backup_sends_an_absolute_path(self):
        with Stub() as stub:
            self.assertEqual(recallctl("backup", "copy.db", server=stub.address).returncode, 0)
            self.assertEqual(json.loads(stub.state.requests[0][3])["path"], os.path.join(os.getcwd(), "copy.db"))

    def test_delete(self):
        with Stub() as stub:
            self.assertEqual(recallctl("delete", SESSION, server=stub.address).returncode, 0)
            self.assertEqual(stub.state.deleted, [SESSION])


def width(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


class Episodes(unittest.TestCase):
    def draw(self, stub, **look):
        terminal = Terminal("--server", stub.address, "memory", SESSION, **look)
        self.addCleanup(terminal.close)
        self.assertEqual(terminal.end(), 0, terminal.output)
        return terminal.output.replace("\r\n", "\n")

    def test_timeline_and_map_fit_every_terminal(self):
        with Stub() as stub:
            stub.state.episodes = True
            for columns in (30, 44, 60, 80, 100, 120, 200):
                drawn = self.draw(stub, columns=columns)
                timeline, episodes = drawn.split("\n\n")[1:]
                for line in (timeline + "\n" + episodes).splitlines():
                    self.assertLessEqual(width(line), max(columns, 40), (columns, line))
                self.assertRegex(timeline, r"2026-01-11 Sun +2  \u2588")
                self.assertRegex(timeline, r"2026-01-12 Mon +1  \u2588")
                self.assertIn("1 without a date", timeline)
                self.assertRegex(episodes, r"(?m)^ #0 +biscuit")
                self.assertRegex(episodes, r"(?m)^ #0 .* 600 +60 %")
                self.assertNotIn("\x1b", drawn)
            self.assertIn("24 Dec 2025 - 14 Feb 2026", drawn)
            self.assertRegex(drawn, r"#13  \(no title\) +no date")

    def test_a_terminal_without_utf8_gets_ascii(self):
        with Stub() as stub:
            stub.state.episodes = True
            drawn = self.draw(stub, locale="C", columns=120)
            self.assertTrue(drawn.isascii(), drawn)
            self.assertRegex(drawn, r"caf\? \?\[31mglaze")
            self.assertRegex(drawn, r"2026-01-11 Sun +2  #####")

    def test_a_pipe_gets_plain_bars_and_texts_as_they_are(self):
        with Stub() as stub:
            stub.state.episodes = True
            text = recallctl("memory", SESSION, server=stub.address).stdout
            self.assertRegex(text, r"2026-01-11 Sun +2  #####")
            self.assertIn("caf\u00e9", text)
            for part in ("11, 2 of them found by their words alone", "all-MiniLM-L6-v2", "at most 1,024 tokens"):
                self.assertIn(part, text)

    def test_long_histories_are_drawn_by_month_or_year(self):
        with Stub() as stub:
            stub.state.times = ["2025-%02d-%02dT12:00:00Z" % (month, day) for month in (11, 12) for day in range(1, 29)]
            stub.state.times += ["2026-02-01T00:00:00Z"] * 1000
            text = recallctl("memory", SESSION, server=stub.address).stdout
            self.assertRegex(text, r"2025-11 +28  ##\n2025-12 +28  ##\n2026-01 +0\n2026-02 +1,000  ##########")
            stub.state.times += ["1969-12-31T23:59:59Z"]
            text = recallctl("memory", SESSION, server=stub.address).stdout
            self.assertRegex(text, r"(?m)^1969 +1  #\n1970 +0\n")

    def test_json_has_the_daemons_fields(self):
        with Stub() as stub:
            stub.state.episodes = True
            memory = json.loads(recallctl("--json", "memory", SESSION, server=stub.address).stdout)
            self.assertEqual([episode["id"] for episode in memory["episodes"]], [0, 12, 13])
            self.assertEqual(memory["segments_pending"], 2)
            self.assertEqual(len(stub.state.requests), 1, "the transcript is read for the drawing alone")

    def test_ask_says_what_it_recalled(self):
        with Stub() as stub:
            stub.state.recall = RECALL_BY_QUESTION
            text = recallctl("ask", SESSION, "where?", server=stub.address).stdout
            summary = next(line for line in text.splitlines() if line.startswith("recalled"))
            self.assertTrue(summary.startswith("recalled 2 segments, 812 tokens, in 3 ms: #0 biscuit, vet"), summary)
            self.assertLessEqual(len(summary), 80)
            self.assertNotIn("corn cob", text)
            for by, said in (("all", "recalled the whole history, 5,180 tokens"),
                             ("recent", "recalled the newest 128 tokens alone")):
                stub.state.recall = {**RECALL_BY_QUESTION, "chosen_by": by, "segments": [], "episodes": []}
                self.assertIn(said, recallctl("ask", SESSION, "where?", server=stub.address).stdout)
            stub.state.recall = RECALL
            self.assertNotIn("recalled", recallctl("ask", SESSION, "where?", server=stub.address).stdout)

    def test_evidence_is_dated_and_shows_the_turn_with_the_words(self):
        with Stub() as stub:
            stub.state.recall = RECALL_BY_QUESTION
            lines = recallctl("ask", SESSION, "where?", "--evidence", server=stub.address).stdout.splitlines()
            self.assertRegex(lines[-2], r"^2026-01-12 07:00  #0  Nadia  Biscuit ate a corn cob .*\.\.$")
            self.assertLessEqual(len(lines[-2]), 80)
            self.assertRegex(lines[-1], r"^no date            -  user   The canoe is at the boathouse\.$")
            answer = json.loads(recallctl("--json", "ask", SESSION, "where?", "--evidence", server=stub.address).stdout)
            self.assertEqual([len(found["turns"]) for found in answer["evidence"]], [3, 1])
            self.assertEqual(answer["evidence"][0]["segment"]["score"], 4.5)

    def test_evidence_in_a_chat(self):
        with Stub() as stub:
            stub.state.recall = RECALL_BY_QUESTION
            text = recallctl("chat", SESSION, server=stub.address, stdin="/evidence\nwhere?\n/evidence\n").stdout
            self.assertIn("no answer yet", text)
            self.assertEqual(text.count("2026-01-12 07:00  #0  Nadia"), 1)
            text = recallctl("chat", SESSION, "--evidence", server=stub.address, stdin="where?\n").stdout
            self.assertEqual(text.count("2026-01-12 07:00  #0  Nadia"), 1)
            stub.state.recall = {**RECALL_BY_QUESTION, "chosen_by": "all", "segments": [], "episodes": []}
            self.assertIn("no segments were chosen",
                          recallctl("ask", SESSION, "where?", "--evidence", server=stub.address).stdout)


class Import(unittest.TestCase):
    LINES = '{"role":"user","content":"hello","speaker":"Ada"}\n{"role":"assistant","content":"yes"}\n'

    def write(self, text, suffix=".ndjson"):
        file = tempfile.NamedTemporaryFile("w", suffix=suffix)
        self.addCleanup(file.close)
        file.write(text)
        file.flush()
        return file.name

    def sent(self, stub, method, path):
        return [r for r in stub.state.requests if r[0] == method and r[1].endswith(path)]

    def test_import_follows_the_reading(self):
        with Stub() as stub:
            result = recallctl("import", self.write(self.LINES), server=stub.address)
            self.assertEqual(result.returncode, 0, result)
            self.assertIn("2 messages are stored", result.stdout)
            self.assertIn(" 25 %  250/1,000 tokens", result.stdout)
            self.assertIn("100 %  1,000/1,000 tokens", result.stdout)
            self.assertNotIn("\r", result.stdout)
            request = self.sent(stub, "POST", "/import")[0]
            self.assertEqual(request[2]["Content-Type"], "application/x-ndjson")
            self.assertEqual(request[3].decode(), self.LINES)
            self.assertEqual(json.loads(self.sent(stub, "POST", "/v1/sessions")[0][3])["style"], "plain")

    def test_no_wait(self):
        with Stub() as stub:
            result = recallctl("import", "--no-wait", "--title", "T", "--style", "template", self.write(self.LINES),
                               server=stub.address)
            self.assertEqual(result.returncode, 0, result)
            self.assertEqual(stub.state.memory_reports, 0)
            self.assertEqual(json.loads(self.sent(stub, "POST", "/v1/sessions")[0][3]),
                             {"title": "T", "style": "template"})

    def test_json_document_into_a_session_that_exists(self):
        with Stub() as stub:
            name = self.write('{"speaker_a": "Ada",\n "speaker_b": "Bo"}\n', ".json")
            out = recallctl("--json", "import", "--session", SESSION, name, server=stub.address).stdout
            self.assertEqual(json.loads(out)["memory"]["tokens_ready"], 1000)
            self.assertEqual(self.sent(stub, "POST", "/import")[0][2]["Content-Type"], "application/json")
            self.assertEqual(self.sent(stub, "POST", "/v1/sessions"), [])

    def test_a_refused_import_leaves_no_session_behind(self):
        with Stub() as stub:
            stub.state.refuse_import = True
            result = recallctl("import", self.write(self.LINES), server=stub.address)
            self.assertEqual(result.returncode, 1, result)
            self.assertIn("line 7", result.stderr)
            self.assertEqual(stub.state.deleted, [SESSION])
            recallctl("import", "--session", SESSION, self.write(self.LINES), server=stub.address)
            self.assertEqual(stub.state.deleted, [SESSION], "a session that was there before stays")

    def test_missing_file_asks_nothing_of_the_daemon(self):
        with Stub() as stub:
            result = recallctl("import", "/nonexistent.ndjson", server=stub.address)
            self.assertEqual(result.returncode, 1)
            self.assertIn("/nonexistent.ndjson", result.stderr)
            self.assertEqual(stub.state.requests, [])

    def test_standard_input(self):
        with Stub() as stub:
            self.assertEqual(recallctl("import", "-", server=stub.address, stdin=self.LINES).returncode, 0)
            self.assertEqual(self.sent(stub, "POST", "/import")[0][3].decode(), self.LINES)

    def test_a_restarting_daemon_is_waited_for(self):
        with Stub() as stub:
            stub.state.unready = 3
            self.assertEqual(recallctl("import", self.write(self.LINES), server=stub.address).returncode, 0)

    def test_progress_bar_on_a_terminal(self):
        with Stub() as stub:
            terminal = Terminal("--server", stub.address, "import", self.write(self.LINES))
            self.addCleanup(terminal.close)
            self.assertEqual(terminal.end(), 0)
            self.assertRegex(terminal.output, r"\r\[=+ +\]  50 %  500/1,000 tokens  \d+ tokens/s  \d+ s left")


class ChatOnTerminal(unittest.TestCase):
    def start(self, stub, *args):
        terminal = Terminal("--server", stub.address, "chat", *args)
        self.addCleanup(terminal.close)
        terminal.wait_for("> ")
        return terminal

    def test_ctrl_c_stops_the_answer_not_the_program(self):
        with Stub() as stub:
            stub.state.endless.set()
            terminal = self.start(stub, SESSION)
            terminal.type("tell me all\r")
            terminal.wait_for("and on and on")
            terminal.type("\x03")
            terminal.wait_for("[stopped]")
            self.assertTrue(stub.state.client_left.wait(10), "the connection stays open: the daemon would write on")
            stub.state.endless.clear()
            terminal.type("where?\r")
            terminal.wait_for("boathouse.")
            terminal.wait_for("> ")
            terminal.type("/quit\r")
            self.assertEqual(terminal.end(), 0)

    def test_ctrl_c_while_typing_clears_the_line(self):
        with Stub() as stub:
            terminal = self.start(stub, SESSION)
            terminal.type("nonsense\x03/quit\r")
            self.assertEqual(terminal.end(), 0)
            self.assertEqual([r for r in stub.state.requests if "chat" in r[1]], [])

    def test_history_and_editing(self):
        with Stub() as stub:
            terminal = self.start(stub, SESSION)
            terminal.type("where is it?\r")
            terminal.wait_for("tokens/s]")
            terminal.wait_for("> ")
            terminal.type("\x1b[A\x7f now?\r")
            terminal.wait_for("tokens/s]")
            terminal.wait_for("> ")
            terminal.type("\x04")
            self.assertEqual(terminal.end(), 0)
            asked = [json.loads(r[3])["messages"][0]["content"] for r in stub.state.requests if "chat" in r[1]]
            self.assertEqual(asked, ["where is it?", "where is it now?"])

    def test_commands_through_a_pipe(self):
        with Stub() as stub:
            result = recallctl("chat", server=stub.address, stdin="/help\n/memory\n/new\n/oops\nwhere?\n/quit\nnever\n")
            self.assertEqual(result.returncode, 0, result)
            for part in ("Ctrl-C stops an answer", "turboquant-4", "new session " + SESSION, "unknown command /oops",
                         "At the boathouse."):
                self.assertIn(part, result.stdout)
            self.assertEqual(len([r for r in stub.state.requests if "chat" in r[1]]), 1)


if __name__ == "__main__":
    unittest.main()
