"""A disk that is full or read-only: writes are refused with 507, reads go on, and nothing acknowledged is lost."""

import os
import subprocess
import unittest

from e2e_case import DaemonCase, Gone, Refused


def mount_tmpfs(path, size):
    """None, or why it cannot be."""
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip()


def fill(path):
    """Takes what is free."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"\0" * 65536)
    except OSError:
        pass
    finally:
        os.close(handle)


class FullDisk(DaemonCase):
    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.folder, "disk")
        reason = mount_tmpfs(self.disk, "64m")
        if reason:
            print("SKIPPED: a full disk needs a small file system, and mounting one failed: " + reason, flush=True)
            self.skipTest(reason)
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk])

    def test_full_disk_refuses_writes_and_serves_reads(self):
        daemon = self.daemon("disk/data")
        daemon.log_path = os.path.join(self.folder, "log")
        daemon.start()
        session = self.session_with(daemon, 8)
        kept = daemon.turns(session)
        filler = os.path.join(self.disk, "filler")
        fill(filler)
        error = None
        for i in range(200):
            try:
                daemon.append(session, [{"role": "user", "content": f"{i} " + "words " * 2000}])
                kept = daemon.turns(session)
            except Refused as refusal:
                error = refusal
                break
        self.assertIsNotNone(error, "a full disk took 200 messages")
        self.assertEqual((error.status, error.code), (507, "storage_full"), error)
        self.assertEqual(daemon.turns(session), kept)
        self.assertEqual(daemon.request("GET", "/health")[0], 200)
        self.assertEqual(daemon.call("GET", "/v1/sessions")["data"][0]["id"], session)
        os.remove(filler)
        daemon.append(session, [{"role": "user", "content": "there is room again"}])
        daemon.restart()
        self.assertEqual([t["content"] for t in daemon.turns(session)],
                         [t["content"] for t in kept] + ["there is room again"])
        self.assert_alive(daemon)


class ReadOnly(DaemonCase):
    def test_data_directory_that_cannot_be_written(self):
        daemon = self.started()
        session = self.session_with(daemon, 6)
        daemon.stop()
        reason = subprocess.run(["mount", "--bind", daemon.data_dir, daemon.data_dir], capture_output=True, text=True)
        if reason.returncode != 0:
            print("SKIPPED: a read-only folder needs a mount: " + reason.stderr, flush=True)
            self.skipTest(reason.stderr)
        self.addCleanup(subprocess.run, ["umount", "-l", daemon.data_dir])
        subprocess.run(["mount", "-o", "remount,bind,ro", daemon.data_dir], check=True)
        try:
            daemon.start()
        except Gone:
            self.assertEqual(daemon.process.returncode, 1, daemon.log_tail())
            self.assertIn(daemon.data_dir, daemon.log())
            return
        self.assert_refused(507, daemon.append, session, [{"role": "user", "content": "x"}], code="storage_full")
        self.assertEqual(len(daemon.turns(session)), 6)


if __name__ == "__main__":
    unittest.main()
