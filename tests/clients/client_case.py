"""One daemon for all tests of a client file."""

import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
from recalld_process import Recalld  # noqa: E402

KEY = "sk-client-0123456789abcdef"


class ClientCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="recalld-clients-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        keys = os.path.join(cls.folder, "keys")
        with open(keys, "w") as file:
            file.write(f"client {KEY}\n")
        os.chmod(keys, 0o600)
        cls.daemon = Recalld(os.path.join(cls.folder, "data"), model__threads=1, server__api_keys_file=keys,
                             server__ws_ping_interval="500ms")
        cls.addClassCleanup(cls.daemon.kill)
        cls.daemon.start()

    def headers(self):
        return {"Authorization": "Bearer " + KEY}

    def new_session(self, style="template"):
        return self.daemon.new_session(style, headers=self.headers())

    def transcript(self, session):
        return [(t["role"], t["content"]) for t in self.daemon.turns(session, headers=self.headers())]
