"""What the end-to-end tests share: a daemon of one's own per test, and a look at its files."""

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
from recalld_process import BUILD, MODEL, PATIENCE, ROOT, Gone, Recalld, Refused  # noqa: E402,F401

SANITIZED = bool(os.environ.get("RECALLD_TEST_SANITIZED"))
# One thread: spinning threads on busy cores are slower than one. Small pages and blocks: more of them in a short text.
TEST_SETTINGS = {"model.threads": 1, "memory.page_tokens": 32, "memory.block_tokens": 64, "memory.recent_tokens": 32,
                 "log.level": "info"}


def sample_lines():
    with open(os.path.join(ROOT, "data/sample_conversation.ndjson")) as file:
        return file.read().splitlines()


class DaemonCase(unittest.TestCase):
    """Every daemon made with self.daemon() is killed and its folder removed at the end of the test."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="recalld-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def daemon(self, name="data", **settings):
        given = {**{k.replace(".", "__"): v for k, v in TEST_SETTINGS.items()}, **settings}
        daemon = Recalld(os.path.join(self.folder, name), **given)
        self.addCleanup(daemon.kill)
        return daemon

    def started(self, **settings):
        return self.daemon(**settings).start()

    def session_with(self, daemon, count, first=0):
        """A session with `count` messages of the sample, all read."""
        session = daemon.new_session()
        daemon.import_lines(session, sample_lines()[first:first + count])
        daemon.wait_read(session)
        return session

    def assert_refused(self, status, call, *args, code=None, says=(), **keywords):
        """call(...) is refused with this status; the message names what `says` lists. Returns the error."""
        with self.assertRaises(Refused) as caught:
            call(*args, **keywords)
        error = caught.exception
        self.assertEqual(error.status, status, error)
        if code:
            self.assertEqual(error.code, code, error)
        for part in says:
            self.assertIn(part, error.message)
        return error

    def assert_start_fails(self, daemon, *parts, code=1):
        """The daemon ends by itself with this code, and its last words name every one of `parts`."""
        with self.assertRaises(Gone):
            daemon.start()
        self.assertEqual(daemon.process.returncode, code, daemon.log_tail())
        for part in parts:
            self.assertIn(part, daemon.log())

    def assert_alive(self, daemon):
        self.assertEqual(daemon.request("GET", "/health")[0], 200)
        found = daemon.call("POST", "/v1/admin/verify", {})
        self.assertEqual(found["ok"], True, found)

    def kv(self, daemon):
        """kv.db of a stopped daemon, opened for damage."""
        database = sqlite3.connect(os.path.join(daemon.data_dir, "kv.db"))
        self.addCleanup(database.close)
        return database


def ndjson(*messages):
    return [json.dumps({"role": role, "content": text}) for role, text in messages]
