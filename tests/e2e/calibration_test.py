"""Calibrations, published rotations and models that do not fit: made by recallctl, refused by it and by the daemon with the
reason. On small synthetic models."""

import io
import math
import os
import pickle
import struct
import subprocess
import sys
import types
import unittest
import zipfile

from e2e_case import BUILD, PATIENCE, DaemonCase

RECALLCTL = os.path.join(BUILD, "app/recallctl/recallctl")
WRITE_GGUF = os.path.join(BUILD, "tests/support/write_gguf")


def torch_file(path, head_dim, layers, **changes):
    """What torch.save writes of OSCAR's rotations, by Python's own pickle and zipfile."""
    tensors = []

    class Storage:
        def __init__(self, numbers):
            self.numbers = numbers

    class Tensor:
        def __init__(self, numbers, *sizes):
            self.storage, self.sizes = Storage(numbers), sizes

        def __reduce_ex__(self, protocol):
            strides = tuple(math.prod(self.sizes[i + 1:]) for i in range(len(self.sizes)))
            from collections import OrderedDict
            return utils._rebuild_tensor_v2, (self.storage, 0, self.sizes, strides, False, OrderedDict())

    # The names that a pickle of torch's refers to.
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch", "__qualname__": "FloatStorage"})

    def _rebuild_tensor_v2(*arguments):
        raise NotImplementedError
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, Storage):
                return None
            tensors.append(obj.numbers)
            return "storage", torch.FloatStorage, str(len(tensors) - 1), "cpu", len(obj.numbers)

    def rotation(layer):
        return [(-1) ** (bin(i & j).count("1") + bin(j & layer).count("1")) / math.sqrt(head_dim)
                for i in range(head_dim) for j in range(head_dim)]

    content = {"format_version": 1, "objective": "qqt_r_h_pbr", "source_grouping": "layer",
               "layers": {i: {"layer_id": i, "rotation": Tensor(rotation(i), head_dim, head_dim),
                              "eigenvalues": Tensor([1.0] * head_dim, head_dim)} for i in range(layers)}, **changes}
    data = io.BytesIO()
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        Pickler(data, protocol=2).dump(content)
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("rotations/data.pkl", data.getvalue())
        archive.writestr("rotations/byteorder", "little")
        for i, numbers in enumerate(tensors):
            archive.writestr(f"rotations/data/{i}", struct.pack(f"<{len(numbers)}f", *numbers))
        archive.writestr("rotations/version", "3\n")
    return path


class Calibrations(DaemonCase):
    def path(self, name):
        return os.path.join(self.folder, name)

    def model(self, head_dim=64, seed=1):
        path = self.path(f"model-{head_dim}-{seed}.gguf")
        subprocess.run([WRITE_GGUF, path, str(head_dim), str(seed)], check=True)
        return path

    def calibrate(self, model, out, *options, code=0):
        result = subprocess.run([RECALLCTL, "calibrate", model, "--tokens", "1024", "--out", self.path(out), *options],
                                capture_output=True, text=True, timeout=120 * PATIENCE)
        self.assertEqual(result.returncode, code, result)
        return result.stderr if code else result.stdout.strip()

    def coded(self, model, calibration=None, codec="oscar-2", name="data"):
        settings = {"memory.calibration": calibration} if calibration else {}
        return self.daemon(name, model=model, memory__codec=codec, **settings)

    def test_files_of_other_models_cut_and_altered_ones(self):
        model, other = self.model(), self.model(seed=2)
        good = self.calibrate(model, "good.calibration")
        for codec in ("oscar-2", "calibrated-2.5"):
            daemon = self.coded(model, good, codec, codec)
            daemon.start()
            self.assertEqual(daemon.stop(), 0)
        self.assert_start_fails(self.coded(model, name="none"), "recallctl calibrate " + model)
        self.assert_start_fails(self.coded(other, good, name="other"), good, "made for another model", "this one has")

        with open(good, "rb") as file:
            whole = file.read()
        for name, content, reason in (("empty", b"", "the file is cut"),
                                      ("cut", whole[:len(whole) // 2], "cut or altered"),
                                      ("altered", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
                                       "cut or altered"),
                                      ("foreign", b"GGUF" + whole[4:], "not a calibration file of this version")):
            with self.subTest(name):
                bad = self.path(name + ".calibration")
                with open(bad, "wb") as file:
                    file.write(content)
                self.assert_start_fails(self.coded(model, bad, name=name), bad, reason)

    def test_a_folder_of_calibrations_and_what_is_kept(self):
        model = self.model()

        path = self.calibrate(model, "all/", "--keep")
        self.assertRegex(path, r"/all/[0-9a-f]{32}\.rcal$")
        made = os.stat(path).st_mtime_ns
        self.assertEqual(self.calibrate(model, "all/", "--keep"), path)
        self.assertEqual(os.stat(path).st_mtime_ns, made)
        with open(path, "r+b") as file:
            file.truncate(1000)
        self.assertEqual(self.calibrate(model, "all/", "--keep"), path)
        self.assertGreater(os.stat(path).st_size, 1000)
        made = os.stat(path).st_mtime_ns
        self.assertEqual(self.calibrate(model, "all/"), path)
        self.assertNotEqual(os.stat(path).st_mtime_ns, made)

    def test_head_dims(self):
        no_multiple = self.model(72)
        self.assert_start_fails(self.daemon("72", model=no_multiple), "heads of 72", "multiple of 16")
        self.assertIn("heads of 72", self.calibrate(no_multiple, "72.calibration", code=1))
        no_power = self.model(80)
        good = self.calibrate(no_power, "80.calibration")
        self.assert_start_fails(self.coded(no_power, good, name="80"),
                                "oscar-2 needs a head_dim that is a power of two, not 80")
        daemon = self.coded(no_power, good, "calibrated-3", "80-calibrated").start()
        self.assertEqual(daemon.stop(), 0)

    def test_published_rotations(self):
        model = self.model()
        k, v = torch_file(self.path("k.pt"), 64, 2), torch_file(self.path("v.pt"), 64, 2)
        imported = self.calibrate(model, "imported.calibration", "--oscar-rotations", k, v)
        with open(imported, "rb") as file:
            self.assertIn(b"OSCAR's rotations: k.pt", file.read(4096))
        daemon = self.coded(model, imported).start()
        self.assertEqual(daemon.stop(), 0)

        def refusal(*files, code=1):
            return self.calibrate(model, "refused.calibration", "--oscar-rotations", *files, code=code)

        self.assertIn("head_dim of 128 in layer 0, the model 64", refusal(torch_file(self.path("wide.pt"), 128, 2), v))
        self.assertIn("values have no layer 1", refusal(k, torch_file(self.path("short.pt"), 64, 1)))
        self.assertIn("format_version is 2", refusal(torch_file(self.path("new.pt"), 64, 2, format_version=2), v))
        self.assertIn("not a ZIP archive", refusal(k, model, code=6))
        self.assertIn("cannot read", refusal(k, self.path("nothing.pt"), code=5))
        with open(k, "rb") as file:
            whole = bytearray(file.read())
        whole[len(whole) // 2] ^= 1
        with open(self.path("altered.pt"), "wb") as file:
            file.write(whole)
        self.assertIn("CRC-32", refusal(self.path("altered.pt"), v, code=6))
        self.assertFalse(os.path.exists(self.path("refused.calibration")))
        refusal(k, code=2)


if __name__ == "__main__":
    unittest.main()
