"""kill -9 at 200 random moments: every acknowledged turn is there again, whole and in order, and no page is wrong.

RECALLD_KILLS sets the number, RECALLD_KILL_SEED the moments.
"""

import os
import random
import threading
import time
import unittest

from e2e_case import SANITIZED, DaemonCase, Gone

KILLS = int(os.environ.get("RECALLD_KILLS", "20" if SANITIZED else "200"))
SEED = int(os.environ.get("RECALLD_KILL_SEED", "20260508"))
SESSIONS = 4
LONGEST_WORK = {"append": 0.1, "import": 0.1, "answer": 0.8, "reading": 0.8}  # seconds before a kill
KINDS = ("append", "import", "answer", "reading")
WORDS = "the canoe lay at the old boathouse while seven herons counted stones beside a green lamp in may".split()


class Oracle:
    """One session's transcript as it must be: what was acknowledged, then at most what was under way at the kill."""

    def __init__(self, session):
        self.session = session
        self.acknowledged = []    # (role, text)
        self.under_way = []       # possible continuations: lists of (role, text or None for any text)

    def settle(self, found, case):
        """Compares with what the daemon has after a restart; what it has is acknowledged from now on."""
        kept = len(self.acknowledged)
        case.assertEqual(found[:kept], self.acknowledged, f"acknowledged turns of {self.session} are lost or changed")
        extra = found[kept:]
        fits = not extra or any(
            len(extra) == len(option) and all(role == want_role and want in (None, text)
                                              for (role, text), (want_role, want) in zip(extra, option))
            for option in self.under_way)
        case.assertTrue(fits, f"{self.session} has turns that nobody said: {extra}, under way: {self.under_way}")
        self.acknowledged = found
        self.under_way = []


class KillTest(DaemonCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        # Kills that fell into the middle of each kind of work.
        self.cut = dict.fromkeys(KINDS, 0)
        self.serial = 0

    def sentence(self):
        self.serial += 1
        return f"{self.serial}: " + " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(4, 14)))

    # Each piece of work leaves in `oracle` what the daemon owes.

    def do_append(self, oracle):
        text = self.sentence()
        oracle.under_way = [[("user", text)]]
        self.target.append(oracle.session, [{"role": "user", "content": text}])
        oracle.acknowledged.append(("user", text))
        oracle.under_way = []
        time.sleep(self.random.uniform(0, 0.01))

    def do_import(self, oracle):
        batch = [("user" if i % 2 == 0 else "assistant", self.sentence()) for i in range(self.random.randint(2, 8))]
        oracle.under_way = [batch]
        self.target.import_lines(oracle.session, ['{"role":"%s","content":"%s"}' % message for message in batch])
        oracle.acknowledged += batch
        oracle.under_way = []
        time.sleep(self.random.uniform(0, 0.01))

    def do_answer(self, oracle):
        text = self.sentence()
        oracle.under_way = [[("user", text)], [("user", text), ("assistant", None)]]
        answer = self.target.ask(oracle.session, text, max_tokens=self.random.randint(2, 12), remember=True)
        oracle.acknowledged.append(("user", text))
        # Kept to the letter, blank lines at its end too; an answer of no letters is no turn.
        if answer["text"]:
            oracle.acknowledged.append(("assistant", answer["text"]))
        oracle.under_way = []

    def do_reading(self, oracle):
        """Some history, then nothing but the background reading of it, which writes pages."""
        self.do_import(oracle)
        self.target.wait_read(oracle.session)

    def work(self, oracle, kind):
        """The same kind of work until the kill."""
        try:
            while True:
                getattr(self, "do_" + kind)(oracle)
        except Gone:
            pass

    def test_kill_9_at_random_moments(self):
        daemon = self.target = self.daemon(memory__catch_up_tokens=64)
        daemon.start()
        oracles = [Oracle(daemon.new_session("template")) for _ in range(SESSIONS)]
        slowest = 0.0
        for kill in range(KILLS):
            if kill:
                daemon.start()
                slowest = max(slowest, daemon.started_in)
                self.check(daemon, oracles)
            oracle = self.random.choice(oracles)
            kind = KINDS[kill % len(KINDS)]
            worker = threading.Thread(target=self.work, args=(oracle, kind))
            worker.start()
            time.sleep(self.random.uniform(0.0, LONGEST_WORK[kind]))
            daemon.kill()
            worker.join()
            self.cut[kind] += bool(oracle.under_way) or kind == "reading"
            if sum(len(o.acknowledged) for o in oracles) > 60 * SESSIONS:
                # Fresh sessions: long histories would only make the rounds slower, and so would reading the old ones.
                daemon.start()
                self.check(daemon, oracles)
                for oracle in oracles:
                    daemon.call("DELETE", f"/v1/sessions/{oracle.session}")
                oracles = [Oracle(daemon.new_session("template")) for _ in range(SESSIONS)]
                daemon.kill()
        daemon.start()
        self.check(daemon, oracles)
        for oracle in oracles:
            daemon.wait_read(oracle.session)
            self.assertEqual(len(daemon.turns(oracle.session)), len(oracle.acknowledged))
            if oracle.acknowledged:
                self.assertTrue(daemon.ask(oracle.session, "Where is the canoe?", max_tokens=4)["recall"])
        self.assert_alive(daemon)
        print(f"{KILLS} kills, cut: {self.cut}; slowest start {slowest:.2f} s; seed {SEED}", flush=True)
        if KILLS >= 100:
            for kind in KINDS:
                self.assertGreater(self.cut[kind], 0, "no kill fell into this kind of work: " + str(self.cut))

    def check(self, daemon, oracles):
        for oracle in oracles:
            found = [(turn["role"], turn["content"]) for turn in daemon.turns(oracle.session)]
            oracle.settle(found, self)
        checked = daemon.call("POST", "/v1/admin/verify", {})
        self.assertTrue(checked["ok"], checked)
        for oracle in oracles:
            self.assertEqual(daemon.memory(oracle.session)["pages_dropped"], 0)


if __name__ == "__main__":
    unittest.main()
