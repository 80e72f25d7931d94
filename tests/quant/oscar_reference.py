"""OSCAR (arXiv 2605.17757) once more, from its equations, slowly and in double precision, on states of a real model:
the rotations, clips and codes of the codec oscar-2 must be these. Bytes are read by docs/page-format.md alone.

For each layer, with H KV heads, G query heads to each, N tokens, Q_h the N G query rows of KV head h:
  keys:    C_K = 1/H sum_h Q_h^T Q_h / (N G)
  values:  w_h[t] = k_t (Q_h^T Q_h / (N G)) k_t^T, made to have a mean of 1;  C_V = 1/H sum_h V_h^T diag(w_h) V_h / N
  M = U Had P: U the eigenvectors by rising eigenvalue, Had Sylvester's Hadamard matrix / sqrt(d), and column
  bitrev(i) of M column s_i of U Had, s the channels by falling eigenvalue.
For each row x of keys or values: y = x M, t = sort(|y|)[floor(rho d)], rho .96 or .92, y clamped to [-t, t],
  s = (max - min) / 3, z = -min / s, code = trunc(y / s + z + 1/2), and what comes back is (code - z) s.
"""

import math
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    print("numpy is missing: scripts/deps installs python3-numpy")
    sys.exit(77)

BUILD = os.environ["RECALLD_BUILD_DIR"]
SOURCE = os.environ["RECALLD_SOURCE_DIR"]
MODEL = os.environ["RECALLD_TEST_MODEL"]
TOKENS, SKIPPED, PAGE_TOKENS, PIECES = 512, 16, 64, 2
LAYERS = (0, 9, 20, 29)
CLIP = {"k": 0.96, "v": 0.92}
# A number this near to the middle between two codes, in steps, may get either: products are summed in f32 there.
TIE = 1e-3


def hadamard(d):
    matrix = np.ones((1, 1))
    while len(matrix) < d:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / math.sqrt(d)


def bit_reversed(i, d):
    bits = d.bit_length() - 1
    return int(format(i, f"0{bits}b")[::-1], 2)


def hadamard_permuted(d):
    """Had P: column bitrev(i) is column d - 1 - i of Had, as eigenvalues rise."""
    matrix, had = np.empty((d, d)), hadamard(d)
    for i in range(d):
        matrix[:, bit_reversed(i, d)] = had[:, d - 1 - i]
    return matrix


def eigenvectors(target):
    values, vectors = np.linalg.eigh((target + target.T) / 2)
    return values, vectors


def quantise(rows, rho):
    """Codes, step, least value and clip of each row."""
    d = rows.shape[1]
    clip = np.sort(np.abs(rows), axis=1)[:, math.floor(rho * d)][:, None]
    clipped = np.clip(rows, -clip, clip)
    low, high = clipped.min(axis=1, keepdims=True), clipped.max(axis=1, keepdims=True)
    step = np.maximum(high - low, 1e-8) / 3
    place = clipped / step - low / step
    return np.trunc(place + 0.5).astype(int), step[:, 0], low[:, 0], clip[:, 0], place


class Page:
    """A page of oscar-2: [head][token][dim] codes, [head][token] scales and offsets, for keys and values."""

    HEADER = 96

    def __init__(self, data):
        field = lambda kind, at: np.frombuffer(data, kind, 1, at)[0]  # noqa: E731
        assert bytes(data[:4]) == b"RPG1" and field("<u2", 8) == 3
        # One band of 2 bits on each side, the uniform grid, offsets.
        assert data[12] == data[13] == 0x21 and data[16] == data[24] == 2, data[:32]
        self.heads, self.d, self.tokens = (int(field("<u2", at)) for at in (42, 44, 46))
        padded = -(-self.tokens // 16) * 16
        at = self.HEADER
        self.scale, self.offset, self.codes = ({"k": [], "v": []} for _ in range(3))
        for _ in range(self.heads):
            for rows in (self.scale["k"], self.scale["v"], self.offset["k"], self.offset["v"]):
                rows.append(np.frombuffer(data, "<f2", self.tokens, at).astype(float))
                at += 2 * padded
        at = -(-at // 64) * 64
        for _ in range(self.heads):
            for side in "kv":
                size = padded * self.d // 4
                self.codes[side].append(self.unpack(side, np.frombuffer(data, np.uint8, size, at), padded))
                at += -(-size // 64) * 64
        self.end = at

    def unpack(self, side, data, padded):
        """Two bits each, in blocks of 64 bytes for 16 tokens and 16 dims."""
        codes = np.empty((padded, self.d), int)
        blocks = data.reshape(padded // 16, self.d // 16, 16, 4)
        for i in range(4):
            part = blocks >> (2 * i) & 3  # [group][chunk][lane][byte]
            if side == "k":  # lane: token of the group; byte b: dim 4 i + b of the chunk
                for b in range(4):
                    codes.reshape(padded // 16, 16, self.d // 16, 16)[:, :, :, 4 * i + b] = \
                        part[..., b].transpose(0, 2, 1)
            else:  # lane: dim of the chunk; byte t: token 4 i + t of the group
                for t in range(4):
                    codes.reshape(padded // 16, 16, self.d // 16, 16)[:, 4 * i + t] = part[..., t]
        return codes[:self.tokens]


class Layer:
    def __init__(self, folder, heads, kv_heads, d):
        read = lambda name, shape: np.fromfile(os.path.join(folder, name), np.float32).astype(float).reshape(shape)  # noqa: E731
        self.d, self.kv_heads = d, kv_heads
        self.pieces = [{"q": read(f"piece-{i}-q", (TOKENS, kv_heads, heads // kv_heads, d)),
                        "k": read(f"piece-{i}-k", (TOKENS, kv_heads, d)),
                        "v": read(f"piece-{i}-v", (TOKENS, kv_heads, d))} for i in range(PIECES)]
        self.rotation = {side: read(f"rotation-{side}", (d, d)) for side in "kv"}
        data = np.fromfile(os.path.join(folder, "pages"), np.uint8)
        size = Page(data).end
        assert len(data) % size == 0
        self.page_bytes = size
        self.pages = [Page(data[at:at + size]) for at in range(0, len(data), size)]

    def targets(self):
        """C_K over all pieces; C_V as the mean over the pieces, each with weights of its own (docs/calibration-format.md)."""
        keys, values = np.zeros((self.d, self.d)), np.zeros((self.d, self.d))
        for piece in self.pieces:
            q, k, v = (piece[name][SKIPPED:] for name in "qkv")
            n = len(q)
            for head in range(self.kv_heads):
                rows = q[:, head].reshape(-1, self.d)
                second = rows.T @ rows / len(rows)
                keys += second / self.kv_heads / PIECES
                weight = np.einsum("ti,ij,tj->t", k[:, head], second, k[:, head])
                weight *= n / weight.sum()
                values += (v[:, head] * weight[:, None]).T @ v[:, head] / n / self.kv_heads / PIECES
        return {"k": keys, "v": values}

    def rows(self, side, page, head):
        first = SKIPPED + PAGE_TOKENS * page
        return self.pieces[0][side][first:first + PAGE_TOKENS, head]


class Oscar(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="recalld-test-")
        subprocess.run([os.path.join(BUILD, "tests/quant/oscar_states"), MODEL,
                        os.path.join(SOURCE, "data/sample_prose.txt"), str(TOKENS), cls.folder.name,
                        *map(str, LAYERS)], check=True)
        with open(os.path.join(cls.folder.name, "shape")) as file:
            heads, kv_heads, d = map(int, file.read().split())
        cls.d = d
        cls.layers = {i: Layer(os.path.join(cls.folder.name, str(i)), heads, kv_heads, d) for i in LAYERS}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def sides(self):
        for index, layer in self.layers.items():
            for side in "kv":
                yield index, layer, side

    def test_rotations(self):
        """M Had P^T has the target's eigenvectors as columns, in order, each up to its sign; those of eigenvalues that are
        equal up to rounding span the same space."""
        for index, layer, side in self.sides():
            with self.subTest(layer=index, side=side):
                values, vectors = eigenvectors(layer.targets()[side])
                ours = layer.rotation[side] @ hadamard_permuted(self.d).T
                worst, first = 0, 0
                while first < self.d:
                    end = first + 1
                    while end < self.d and values[end] - values[end - 1] < 1e-9 * values[-1]:
                        end += 1
                    span, mine = vectors[:, first:end], ours[:, first:end]
                    outside = np.linalg.norm(mine - span @ (span.T @ mine), axis=0) / np.linalg.norm(mine, axis=0)
                    worst = max(worst, outside.max())
                    first = end
                print(f"layer {index} {side}: largest sine of an angle to the eigenvector {worst:.1e}, "
                      f"orthogonal to {abs(ours.T @ ours - np.eye(self.d)).max():.1e}")
                # Rotations are kept as halves of unit rows: 2^-11 of a number, at random.
                self.assertLess(worst, 2e-3)

    def test_clips_and_codes(self):
        """With the codec's rotation: scale and offset to the rounding of a half, codes equal but for ties."""
        for index, layer, side in self.sides():
            with self.subTest(layer=index, side=side):
                ties = total = clipped = 0
                for number, page in enumerate(layer.pages):
                    for head in range(layer.kv_heads):
                        y = layer.rows(side, number, head) @ layer.rotation[side]
                        codes, step, low, clip, place = quantise(y, CLIP[side])
                        scale, offset = page.scale[side][head], page.offset[side][head]
                        np.testing.assert_allclose(scale, step, rtol=2**-11 + 1e-5)
                        # What the least code stands for, and the greatest: the clip on one end at least.
                        room = 2**-11 * (np.abs(offset) + 1.5 * scale) + 1e-5 * clip
                        self.assertTrue((np.abs(offset - 1.5 * scale - low) <= room).all())
                        self.assertTrue((np.maximum(1.5 * scale - offset, offset + 1.5 * scale) - clip <= room).all())
                        self.assertTrue((clip - np.maximum(1.5 * scale - offset, offset + 1.5 * scale) <= room).all())
                        differ = codes != page.codes[side][head]
                        self.assertTrue((np.abs(place[differ] % 1 - 0.5) < TIE).all())
                        ties += differ.sum()
                        total += codes.size
                        clipped += (np.abs(y) > clip[:, None]).sum()
                rows = total / self.d
                print(f"layer {index} {side}: {ties} of {total} codes differ, all ties; {clipped / rows:.2f} of {self.d} "
                      "numbers of a row are clipped")
                self.assertLess(ties, 1e-4 * total)
                # Those above the rank floor(rho d).
                self.assertEqual(clipped / rows, self.d - 1 - math.floor(CLIP[side] * self.d))

    def test_from_states_to_codes(self):
        """With the rotation computed here, its eigenvectors' signs chosen as the codec has them."""
        for index, layer, side in self.sides():
            with self.subTest(layer=index, side=side):
                _, vectors = eigenvectors(layer.targets()[side])
                mixing = hadamard_permuted(self.d)
                signs = np.sign(np.sum(vectors * (layer.rotation[side] @ mixing.T), axis=0))
                rotation = (vectors * signs) @ mixing
                differ = total = 0
                for number, page in enumerate(layer.pages):
                    for head in range(layer.kv_heads):
                        codes = quantise(layer.rows(side, number, head) @ rotation, CLIP[side])[0]
                        differ += (codes != page.codes[side][head]).sum()
                        total += codes.size
                print(f"layer {index} {side}: {differ} of {total} codes differ from rotations in double precision")
                # The rotation's rounding to halves moves a number by 3e-4 of a row's length.
                self.assertLess(differ, 2e-3 * total)

    def test_bits(self):
        layer = self.layers[LAYERS[0]]
        numbers = 2 * layer.kv_heads * self.d * PAGE_TOKENS
        bits = layer.page_bytes * 8 / numbers
        # 2 bits, a scale and an offset of 16 bits to each row, the header of 96 bytes and padding to 64.
        self.assertAlmostEqual(bits, 2 + 32 / self.d + 128 * 8 / numbers, places=6)


if __name__ == "__main__":
    unittest.main()
