"""Every family of codecs in a daemon: a session is read, outlives kill -9, and is read anew when the codec is changed."""

import os
import subprocess
import unittest

from e2e_case import BUILD, MODEL, PATIENCE, SANITIZED, DaemonCase

QUESTION = "What is the name of the vet?"
ASKED = "2026-05-12T09:30:00Z"
MESSAGES = 24
# With how pages lie on the disk.
ARCHIVED = ("turboquant-4", "archive-4")
CODECS = ("none16", "trellis-4", "turboquant-4", "calibrated-2", "oscar-2") + (() if SANITIZED else (
    "turboquant-k3v2", "turboquant-2", "turboquant-2.5", "calibrated-4", "calibrated-3", "calibrated-2.5"))
FORMS = tuple((codec, "exact") for codec in CODECS) + (ARCHIVED,) + (() if SANITIZED else (
    ("none16", "archive-3"), ("none16", "archive-2")))


class Codecs(DaemonCase):
    def setUp(self):
        super().setUp()
        self.calibration = os.path.join(self.folder, "calibration")

    def calibrate(self):
        """Few tokens: what is tested is that it is used, not how good it is."""
        ran = subprocess.run([os.path.join(BUILD, "app/recallctl/recallctl"), "calibrate", MODEL, "--out",
                              self.calibration, "--tokens", "1024", "--threads", "1"],
                             capture_output=True, text=True, timeout=300 * PATIENCE)
        self.assertEqual(ran.returncode, 0, ran.stderr)

    def with_codec(self, daemon, codec, at_rest="exact"):
        daemon.settings["memory.codec"] = codec
        daemon.settings["memory.at_rest"] = at_rest
        daemon.settings["memory.calibration"] = self.calibration
        return daemon

    def test_a_session_outlives_kill_9_with_every_codec(self):
        self.calibrate()
        on_disk = {}
        for codec, at_rest in FORMS:
            with self.subTest(codec=codec, at_rest=at_rest):
                daemon = self.with_codec(self.daemon(f"{codec}-{at_rest}"), codec, at_rest).start()
                session = self.session_with(daemon, MESSAGES)
                before = daemon.ask(session, QUESTION, 8, time_said=ASKED)
                self.assertTrue(before["text"].strip())
                daemon.restart()
                after = daemon.ask(session, QUESTION, 8, time_said=ASKED)
                self.assertEqual(after["text"], before["text"])
                self.assertEqual(after["recall"]["tokens_reused"], before["recall"]["tokens_reused"])
                self.assertEqual(after["recall"]["tokens_read"], before["recall"]["tokens_read"])
                memory = daemon.memory(session)
                self.assertEqual((memory["codec"], memory["pages_dropped"]), (codec, 0))
                on_disk[codec, at_rest] = memory["bytes_disk"]
                self.assert_alive(daemon)
                daemon.kill()
        self.assertLess(on_disk["turboquant-4", "exact"], on_disk["none16", "exact"])
        self.assertLess(on_disk["calibrated-2", "exact"], on_disk["turboquant-4", "exact"])
        self.assertLess(on_disk[ARCHIVED], on_disk["turboquant-4", "exact"])
        if not SANITIZED:
            self.assertLess(on_disk["none16", "archive-3"], on_disk[ARCHIVED])
            self.assertLess(on_disk["none16", "archive-2"], on_disk["none16", "archive-3"])

    def test_another_codec_reads_the_transcript_anew(self):
        self.calibrate()
        daemon = self.with_codec(self.daemon(), "turboquant-4").start()
        session = self.session_with(daemon, MESSAGES)
        first = daemon.ask(session, QUESTION, 8, time_said=ASKED)
        for codec, at_rest in (("calibrated-2", "exact"), ARCHIVED, ("oscar-2", "exact"), ("turboquant-4", "exact")):
            daemon.kill()
            self.with_codec(daemon, codec, at_rest).start()
            daemon.ask(session, QUESTION, 8, time_said=ASKED)
            memory = daemon.wait_read(session)
            self.assertEqual(memory["codec"], codec)
            self.assertGreater(memory["pages_dropped"], 0, memory)
            self.assertEqual(memory["tokens_ready"], memory["tokens_total"])
            self.assertEqual(len(daemon.turns(session)), MESSAGES)
            answer = daemon.ask(session, QUESTION, 8, time_said=ASKED)
            self.assertTrue(answer["text"].strip())
            self.assert_alive(daemon)
        self.assertEqual(answer["text"], first["text"], "back at the first codec the answer is the first one")


if __name__ == "__main__":
    unittest.main()
