"""The shape of the house: includes point down the ladder, files stay small, and the code speaks of the product alone."""

import os
import re
import statistics
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_LINES = 800
MEDIAN_LINES = 200
SOURCE = (".h", ".cpp", ".cu", ".cuh", ".py")


def rooms():
    """Bottom first, as CMakeLists.txt builds them."""
    return re.search(r"set\(RECALLD_ROOMS ([a-z ]+)", read("CMakeLists.txt")).group(1).split()


def tracked():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.split("\0") if name and os.path.isfile(os.path.join(ROOT, name))]
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f != ".git" and not f.startswith("build")]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return found


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def wrong_includes(room, text, ladder):
    """Rooms above `room`, or outside the ladder, that the text includes."""
    wrong = []
    for included in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
        top = included.split("/")[0]
        if top in ladder and ladder.index(top) > ladder.index(room):
            wrong.append(included)
        if top in ("tests", "bench") or included.startswith(".."):
            wrong.append(included)
    return wrong


class Ladder(unittest.TestCase):
    def setUp(self):
        self.files = tracked()
        self.sources = [name for name in self.files if name.endswith(SOURCE)]
        self.ladder = rooms()

    def test_includes_point_down(self):
        problems = []
        for name in self.sources:
            room = name.split("/")[0]
            if room in self.ladder:
                problems += [f"{name} includes {wrong}" for wrong in wrong_includes(room, read(name), self.ladder)]
        self.assertEqual(problems, [])

    def test_the_test_finds_a_wrong_include(self):
        text = '#include "cache/chunk.h"\n#  include "api/server.h"\n#include <daemon/x.h>\n#include "base/status.h"\n'
        self.assertEqual(wrong_includes("cache", text, self.ladder), ["api/server.h"])
        self.assertEqual(wrong_includes("base", '#include "tests/x.h"\n', self.ladder), ["tests/x.h"])

    def test_storage_and_cache_keep_apart(self):
        for name in self.sources:
            if name.startswith("cache/"):
                self.assertNotIn('#include "storage/', read(name), f"{name}: cache/ knows pages, not SQL")
            if name.startswith("storage/"):
                self.assertNotIn('#include "quant/', read(name), f"{name}: storage/ knows bytes, not pages")

    def test_files_are_small(self):
        lines = {name: read(name).count("\n") for name in self.sources}
        self.assertEqual({n: c for n, c in lines.items() if c > MOST_LINES}, {})
        own = [count for name, count in lines.items() if name.split("/")[0] in self.ladder]
        self.assertLess(statistics.median(own), MEDIAN_LINES)

    def test_headers_are_included_once(self):
        missing = [n for n in self.sources if n.endswith(".h") and not n.endswith("-inl.h")
                   and "#pragma once" not in read(n)]
        self.assertEqual(missing, [])

    def test_no_paths_of_one_machine_and_no_loose_ends(self):
        forbidden = ["/" + "work/", "/" + "root/", "TO" + "DO", "FIX" + "ME"]
        found = []
        for name in self.files:
            if name.startswith("data/"):
                continue
            text = read(name)
            found += [f"{name}: {word}" for word in forbidden if word in text]
        self.assertEqual(found, [])

    def test_scripts_can_be_run(self):
        for name in self.files:
            if name.startswith(("scripts/", ".ci/", "bench/")) and read(name).startswith("#!"):
                self.assertTrue(os.access(os.path.join(ROOT, name), os.X_OK), name)


if __name__ == "__main__":
    unittest.main()
