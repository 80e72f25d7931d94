"""A server that speaks docs/http.md without a model, and can be told to fail: what recallctl's tests need and a real
daemon would not do on demand."""

import http.server
import json
import socketserver
import threading
import time
import urllib.parse

SESSION = "s_01JB2Z6W4N5QH8Z7T3M9K0C1DA"
RECALL = {"session": SESSION, "user_turn": 3, "assistant_turn": 4, "tokens_reused": 5180, "tokens_read": 24,
          "tokens_pending": 0, "pages": 90, "view_bytes": 1 << 20, "view_f16_bytes": 4 << 20, "load_ms": 2.5,
          "queue_ms": 0.1, "first_token_ms": 41.0, "decode_tokens_per_s": 88.0}

EPISODES = [
    {"id": 0, "title": "biscuit, vet, stitches", "first": "2026-01-11T18:20:00Z", "last": "2026-01-13T09:22:07Z",
     "segments": 6, "turns": 25, "tokens": 600},
    {"id": 12, "title": "caf\u00e9 \x1b[31mglaze, a kiln that is hotter than anybody thought, and bowls with lids",
     "first": "2025-12-24T19:40:00Z", "last": "2026-02-14T10:00:00Z", "segments": 4, "turns": 30, "tokens": 400},
    {"id": 13, "title": "", "first": None, "last": None, "segments": 1, "turns": 1, "tokens": 0}]
TURNS = [
    ("user", "Nadia", "Hey Daniel, are you up?", "2026-01-11T18:20:00Z"),
    ("assistant", "Daniel", "I'm up. What\nhappened?", "2026-01-11T18:21:38Z"),
    ("user", "Nadia", "Biscuit ate a corn cob off the pavement. Dr. Okafor wants to operate tomorrow at half past eight, "
     "and it will cost about 1,150 euros.", "2026-01-12T07:00:00Z"),
    ("user", None, "The canoe is at the boathouse.", None)]
RECALL_BY_QUESTION = {
    **RECALL, "chosen_by": "question", "margin": 0.31, "chosen_tokens": 812, "recent_tokens": 128, "search_ms": 3.4,
    "episodes": [{key: episode[key] for key in ("id", "title", "first", "last")} for episode in EPISODES[:2]],
    "segments": [{"episode": 0, "first_turn": 0, "turns": 3, "tokens": 700, "first": "2026-01-11T18:20:00Z",
                  "last": "2026-01-12T07:00:00Z", "score": 4.5, "signals": {"dense": 3}, "words": ["cob", "biscuit"]},
                 {"episode": None, "first_turn": 3, "turns": 1, "tokens": 112, "first": None, "last": None,
                  "score": 1.5, "signals": {"dense": 1}, "words": []}]}


class State:
    """What the stub was asked, and how it is to behave."""

    def __init__(self):
        self.requests = []          # (method, path, headers, body)
        self.deleted = []
        self.key = None             # required key
        self.ready_after = 4        # memory reports until everything is read
        self.memory_reports = 0
        self.cut_stream = False     # close in the middle of an answer
        self.error_in_stream = False
        self.endless = threading.Event()
        self.client_left = threading.Event()
        self.refuse_import = False
        self.unready = 0            # this many memory reports answer 503
        self.damaged = False
        self.episodes = False       # the memory report has episodes, and answers say what they recalled
        self.times = None           # the transcript: a message at each of these times, instead of TURNS
        self.recall = RECALL


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"

    def send_json(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_failure(self, status, code, message):
        self.send_json(status, {"error": {"message": message, "type": "t", "param": None, "code": code}})

    def handle_any(self):
        state = self.server.state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.requests.append((self.command, self.path, dict(self.headers), body))
        if state.key and self.headers.get("Authorization") != "Bearer " + state.key:
            return self.send_failure(401, "invalid_api_key", "the key is unknown")
        route = (self.command, self.path.replace(SESSION, "ID"))
        if "s_unknown" in self.path:
            return self.send_failure(404, "session_not_found", 'session "s_unknown" does not exist')
        if route == ("POST", "/v1/sessions"):
            return self.send_json(201, self.session())
        if route == ("GET", "/v1/sessions"):
            return self.send_json(200, {"object": "list", "data": [self.session()]})
        if route == ("GET", "/v1/sessions/ID"):
            return self.send_json(200, self.session())
        if self.command == "GET" and route[1].startswith("/v1/sessions/ID?"):
            return self.turns(state)
        if route == ("DELETE", "/v1/sessions/ID"):
            state.deleted.append(SESSION)
            return self.send_json(200, {"id": SESSION, "object": "session.deleted", "deleted": True})
        if route == ("GET", "/v1/sessions/ID/memory"):
            return self.memory(state)
        if route == ("POST", "/v1/sessions/ID/import"):
            if state.refuse_import:
                return self.send_failure(400, "invalid_argument", "line 7: content is missing")
            return self.send_json(201, {"object": "session.import", "session": SESSION, "first_turn": 0,
                                        "turns": len(body.splitlines()), "duplicate": False})
        if route == ("POST", "/v1/admin/verify"):
            problems = ["page 12 fails its checksum"] if state.damaged else []
            return self.send_json(200, {"object": "verify", "ok": not problems, "stores": [
                {"name": "memory.db", "ok": True, "problems": []},
                {"name": "kv.db", "ok": not problems, "problems": problems}]})
        if route == ("POST", "/v1/admin/backup"):
            return self.send_json(200, {"object": "backup", "path": json.loads(body)["path"]})
        if route == ("POST", "/v1/chat/completions"):
            return self.chat(state, json.loads(body))
        return self.send_failure(404, "not_found", "no such route")

    do_GET = do_POST = do_DELETE = handle_any

    def session(self):
        return {"id": SESSION, "object": "session", "title": "Ca\u00f1oe \x1b[31mtrip", "style": "plain",
                "turn_count": 419, "created_at": "2026-05-08T13:56:00Z", "updated_at": "2026-05-09T08:00:00Z"}

    def turns(self, state):
        asked = {key: int(value[0]) for key, value in
                 urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).items()}
        found = TURNS if state.times is None else [("user", "Ada", "hello", time) for time in state.times]
        end = asked["first"] + asked["limit"]
        self.send_json(200, {**self.session(), "next": end if end < len(found) else None, "turns": [
            {"index": index, "role": role, "speaker": speaker, "content": content, "time": time}
            for index, (role, speaker, content, time) in enumerate(found)][asked["first"]:end]})

    def memory(self, state):
        if state.unready > 0:
            state.unready -= 1
            return self.send_failure(503, "unavailable", "starting: loading the model")
        state.memory_reports += 1
        ready = min(1000, 1000 * state.memory_reports // state.ready_after)
        more = {"segments": 11, "segments_pending": 2, "encoder": "all-MiniLM-L6-v2", "reading": "recent",
                "recall_tokens": 1024, "episodes": EPISODES} if state.episodes else {}
        return self.send_json(200, {
            **more, "object": "session.memory", "session": SESSION, "state": "ready" if ready == 1000 else "reading",
            "codec": "turboquant-4", "turns": 191, "tokens_total": 1000, "tokens_ready": ready,
            "tokens_pending": 1000 - ready, "pages": 30, "bytes_disk": 1 << 20, "bytes_ram": 1 << 19, "bytes_resident": 1536 << 10,
            "bytes_f16": 4 << 20, "pages_dropped": 0})

    def event(self, value):
        data = value if isinstance(value, str) else json.dumps(value)
        piece = ("data: " + data + "\n\n").encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def chat(self, state, request):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = lambda delta, finish=None: {"object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(b"e\r\n: keep-alive\n\n\r\n")
        self.event(chunk({"role": "assistant", "content": ""}))
        self.event(chunk({"content": "At the "}))
        if state.cut_stream:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        if state.error_in_stream:
            self.event({"error": {"message": "the engine is out of pages", "type": "server_error", "code": "internal"}})
        else:
            while state.endless.is_set():
                try:
                    self.event(chunk({"content": "and on "}))
                except OSError:
                    state.client_left.set()
                    self.close_connection = True
                    return
                time.sleep(0.01)
            self.event(chunk({"content": "boathouse."}))
            self.event({**chunk({}, "stop"), "recall": state.recall})
            self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")


class TcpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


class Stub:
    """with Stub() as stub: ... stub.address is for --server."""

    def __init__(self, unix_path=None):
        self.state = State()
        self.server = UnixServer(unix_path, Handler) if unix_path else TcpServer(("127.0.0.1", 0), Handler)
        self.server.state = self.state
        self.address = "unix:" + unix_path if unix_path else "http://127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.state.endless.clear()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
