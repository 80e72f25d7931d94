"""A recalld of one's own: started on a free port over a data directory of one's choice, killed, restarted, asked.

For the demo, benches and tests. Only the standard library. Not for several threads at once, except request() and
stream(), which may be called from any.
"""

import ctypes
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.environ.get("RECALLD_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "recalld")
BUILD = os.environ.get("RECALLD_BUILD_DIR") or os.path.join(ROOT, "build/release")
MODEL = (os.environ.get("RECALLD_MODEL") or os.environ.get("RECALLD_TEST_MODEL")
         or os.path.join(CACHE, "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
ENCODER = os.path.join(CACHE, "models/all-MiniLM-L6-v2.gguf")
PR_SET_PDEATHSIG = 1
# Everything takes many times longer in a daemon with sanitizers, and nothing here is about time.
PATIENCE = 8 if os.environ.get("RECALLD_TEST_SANITIZED") else 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Gone(Exception):
    """The daemon ended, or cut the connection."""


class Refused(Exception):
    """An HTTP error: status, error code and message."""

    def __init__(self, status, error):
        super().__init__(f"HTTP {status}: {error}")
        self.status = status
        self.code = error.get("code") if isinstance(error, dict) else None
        self.message = error.get("message") if isinstance(error, dict) else str(error)


class Recalld:
    """One data directory and the daemon on it. settings: key to value, as in docs/configuration.md. The text encoder
    that scripts/deps installs is passed when it is there."""

    def __init__(self, data_dir, model=MODEL, port=None, build=BUILD, **settings):
        self.data_dir = str(data_dir)
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.build = build
        self.settings = {"server.listen": f"127.0.0.1:{self.port}", "memory.data_dir": self.data_dir,
                         "model.path": str(model)}
        if os.path.isfile(ENCODER):
            self.settings["memory.encoder"] = ENCODER
        self.settings.update({key.replace("__", "."): value for key, value in settings.items()})
        self.log_path = self.data_dir + ".log"
        self.process = None
        self.started_in = 0.0

    def command(self):
        return [os.path.join(self.build, "app/recalld"), *(f"--{key}={value}" for key, value in self.settings.items())]

    def spawn(self):
        """Starts the process without waiting for it to be ready."""
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith("RECALLD_") and k not in ("NOTIFY_SOCKET", "STATE_DIRECTORY")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment, cwd="/", preexec_fn=end_with_parent)
        return self

    def start(self, timeout=60 * PATIENCE):
        """Starts and waits until requests can be served. Raises Gone with the end of the log when it ends instead."""
        begun = time.monotonic()
        self.spawn().wait_ready(timeout)
        self.started_in = time.monotonic() - begun
        return self

    def wait_ready(self, timeout=60 * PATIENCE):
        end = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise Gone(f"recalld ended with code {self.process.returncode}:\n{self.log_tail()}")
            try:
                if self.request("GET", "/ready")[0] == 200:
                    return
            except Gone:
                pass
            if time.monotonic() > end:
                raise Gone(f"recalld is not ready after {timeout} s:\n{self.log_tail()}")
            time.sleep(0.01)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=15):
        return "\n".join(self.log().splitlines()[-lines:])

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9. Returns when the process is gone."""
        if self.running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def stop(self, timeout=60 * PATIENCE):
        """SIGTERM; returns the exit code."""
        if self.running():
            self.process.terminate()
        return self.process.wait(timeout)

    def restart(self):
        self.kill()
        return self.start()

    # --- requests ---

    def connect(self, timeout=120 * PATIENCE):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=120 * PATIENCE):
        """(status, parsed JSON or text). Raises Gone when there is no answer."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            response = connection.getresponse()
            data = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Gone(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(data)
        except ValueError:
            return response.status, data

    def call(self, method, path, body=None, **keywords):
        """The parsed answer; raises Refused on an HTTP error."""
        status, value = self.request(method, path, body, **keywords)
        if status >= 400:
            raise Refused(status, value.get("error", value) if isinstance(value, dict) else value)
        return value

    def stream(self, body, headers=None, timeout=120 * PATIENCE):
        """Yields the chunks of a streamed chat answer; returns at [DONE]. Raises Gone when it is cut, Refused on an
        error before or inside the stream."""
        connection = self.connect(timeout)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps({**body, "stream": True}),
                               {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            if response.status >= 400:
                raise Refused(response.status, json.loads(response.read()).get("error"))
            while line := response.readline():
                if not line.startswith(b"data: "):
                    continue
                data = line[6:].strip()
                if data == b"[DONE]":
                    return
                chunk = json.loads(data)
                if "error" in chunk:
                    raise Refused(response.status, chunk["error"])
                yield chunk
            raise Gone("the stream ended without [DONE]")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Gone(f"stream: {error!r}") from error
        finally:
            connection.close()

    # --- shortcuts ---

    def new_session(self, style="plain", **keywords):
        return self.call("POST", "/v1/sessions", {"style": style}, **keywords)["id"]

    def append(self, session, messages, **keywords):
        return self.call("POST", f"/v1/sessions/{session}/messages", {"messages": messages}, **keywords)

    def import_lines(self, session, lines, **keywords):
        return self.call("POST", f"/v1/sessions/{session}/import", "".join(line + "\n" for line in lines),
                         headers={"Content-Type": "application/x-ndjson", **keywords.pop("headers", {})}, **keywords)

    def memory(self, session, **keywords):
        return self.call("GET", f"/v1/sessions/{session}/memory", **keywords)

    def some_turns(self, session, first, count, **keywords):
        return self.call("GET", f"/v1/sessions/{session}?turns=1&first={first}&limit={count}", **keywords)["turns"]

    def turns(self, session, **keywords):
        """The whole transcript."""
        found, first = [], 0
        while first is not None:
            page = self.call("GET", f"/v1/sessions/{session}?turns=1&first={first}&limit=1000", **keywords)
            found += page["turns"]
            first = page["next"]
        return found

    def wait_read(self, session, timeout=300 * PATIENCE, **keywords):
        """Until all of the session is in memory and can be found by meaning; returns the memory report."""
        end = time.monotonic() + timeout
        while True:
            memory = self.memory(session, **keywords)
            if memory["tokens_pending"] == 0 and memory["segments_pending"] == 0 and memory["state"] == "ready":
                return memory
            if time.monotonic() > end:
                raise TimeoutError(f"the session is not read after {timeout} s: {memory}")
            time.sleep(0.05)

    def ask(self, session, question, max_tokens=24, remember=False, timeout=300 * PATIENCE, headers=None, time_said=None,
            **fields):
        """A greedy answer: {"text", "recall", "usage", "finish_reason", "first_text_ms"}; the last is the client's.

        time_said: when the question is asked (RFC 3339). The model is told the date after a pause, so without it the
        same question is another one a minute later."""
        message = {"role": "user", "content": question, **({"time": time_said} if time_said else {})}
        body = {"messages": [message], "max_tokens": max_tokens, "temperature": 0,
                "remember": remember, "stream_options": {"include_usage": True}, **fields}
        if session:
            body["metadata"] = {"session": session}
        answer = {"text": "", "recall": None, "usage": None, "finish_reason": None, "first_text_ms": None}
        begun = time.monotonic()
        for chunk in self.stream(body, headers, timeout):
            answer["recall"] = chunk.get("recall") or answer["recall"]
            answer["usage"] = chunk.get("usage") or answer["usage"]
            for choice in chunk["choices"]:
                piece = choice["delta"].get("content") or ""
                if piece and answer["first_text_ms"] is None:
                    answer["first_text_ms"] = (time.monotonic() - begun) * 1000
                answer["text"] += piece
                answer["finish_reason"] = choice["finish_reason"] or answer["finish_reason"]
        return answer
