"""Model files that cannot be served: each is refused at start, with a message that names the file and the remedy. And
one that can, over what another model has read."""

import os
import shutil
import subprocess
import unittest

from e2e_case import BUILD, MODEL, DaemonCase


class BadModel(DaemonCase):
    def copy_of_model(self, change, name="model.gguf"):
        path = os.path.join(self.folder, name)
        shutil.copyfile(MODEL, path)
        with open(path, "r+b") as file:
            change(file)
        return path

    def test_missing(self):
        path = os.path.join(self.folder, "nothing.gguf")
        self.assert_start_fails(self.daemon(model=path), path)

    def test_no_model_given(self):
        daemon = self.daemon(model="")
        daemon.settings.pop("model.path")
        self.assert_start_fails(daemon, "model.path", code=78)

    def test_truncated(self):
        for keep in (0, 3, 100, 1 << 20, os.path.getsize(MODEL) - 1000):
            with self.subTest(keep=keep):
                path = self.copy_of_model(lambda file, keep=keep: file.truncate(keep), f"cut-{keep}.gguf")
                self.assert_start_fails(self.daemon(f"data-{keep}", model=path), path)

    def test_not_a_gguf(self):
        path = self.copy_of_model(lambda file: file.write(b"PK\x03\x04"))
        self.assert_start_fails(self.daemon(model=path), path, "GGUF")

    def test_foreign_architecture_names_those_served(self):
        def rename(file):
            head = file.read(1 << 20)
            key = b"general.architecture"
            at = head.index(key) + len(key) + 4 + 8
            assert head[at:at + 5] == b"llama", head[at:at + 5]
            file.seek(at)
            file.write(b"mamba")

        path = self.copy_of_model(rename)
        self.assert_start_fails(self.daemon(model=path), "mamba", "llama", "qwen3")

    def test_flipped_bits_in_the_header(self):
        """A damaged header is refused, or the file still makes sense; never a crash."""
        for at in (4, 8, 16, 24, 40, 64, 200, 1000):
            with self.subTest(at=at):
                def flip(file, at=at):
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 0x40]))

                daemon = self.daemon(f"data-{at}", model=self.copy_of_model(flip, f"flip-{at}.gguf"))
                try:
                    daemon.start()
                except Exception:
                    self.assertEqual(daemon.process.returncode, 1, daemon.log_tail())
                else:
                    self.assertEqual(daemon.stop(), 0)

    def test_flipped_bit_in_the_weights_is_found_by_the_digest(self):
        import hashlib
        with open(MODEL, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()

        def flip(file):
            file.seek(os.path.getsize(MODEL) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x01]))

        good = self.daemon("good", model__sha256=digest)
        good.start()
        good.stop()
        path = self.copy_of_model(flip)
        self.assert_start_fails(self.daemon("bad", model=path, model__sha256=digest), path, digest)

    def test_a_folder(self):
        self.assert_start_fails(self.daemon(model=self.folder), self.folder)


class AnotherModel(DaemonCase):
    def test_pages_of_another_model_are_whole_and_read_anew(self):
        daemon = self.started()
        session = self.session_with(daemon, 30)
        daemon.stop()
        other = os.path.join(self.folder, "other.gguf")
        subprocess.run([os.path.join(BUILD, "tests/support/write_gguf"), other, "64", "1"], check=True, timeout=60)
        daemon.settings["model.path"] = other
        daemon.start()
        for _ in range(50):  # while chunks are replaced, too
            self.assert_alive(daemon)
        daemon.ask(session, "What is the name of the vet?", 4)
        memory = daemon.wait_read(session)
        self.assertGreater(memory["pages_dropped"], 0, memory)
        self.assertEqual(len(daemon.turns(session)), 30)
        self.assert_alive(daemon)


if __name__ == "__main__":
    unittest.main()
