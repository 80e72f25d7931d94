"""scripts/bert_to_gguf.py on a tiny encoder: what is stored where, and what happens to archives that are none."""

import array
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

SCRIPT = os.path.join(os.environ["RECALLD_SOURCE_DIR"], "scripts", "bert_to_gguf.py")
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##ing", ".", "dog"]
WIDTH, INNER, POSITIONS, WINDOW = 8, 16, 12, 6


def tensors():
    """Names and shapes as PyTorch stores a BERT of one layer."""
    yield "embeddings.word_embeddings.weight", [len(TOKENS), WIDTH]
    yield "embeddings.position_embeddings.weight", [POSITIONS, WIDTH]
    yield "embeddings.token_type_embeddings.weight", [2, WIDTH]
    sizes = {"attention.self.query": (WIDTH, WIDTH), "attention.self.key": (WIDTH, WIDTH),
             "attention.self.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH),
             "intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
    for name, (rows, columns) in sizes.items():
        yield f"encoder.layer.0.{name}.weight", [rows, columns]
        yield f"encoder.layer.0.{name}.bias", [rows]
    for name in ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"):
        yield name + ".LayerNorm.weight", [WIDTH]
        yield name + ".LayerNorm.bias", [WIDTH]


def write_archive(path, **changes):
    header, data = {}, b""
    for number, (name, shape) in enumerate(tensors()):
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        part = array.array("f", [((7 * i + number) % 23 - 11) / 16 for i in range(n)]).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    entries = json.dumps(header).encode()
    config = {"model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH, "intermediate_size": INNER,
              "num_hidden_layers": 1, "num_attention_heads": 2, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
              "max_position_embeddings": POSITIONS, "vocab_size": len(TOKENS)}
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
               "mask_token": "[MASK]"}
    files = {
        "model.safetensors": struct.pack("<Q", len(entries)) + entries + data,
        "config.json": json.dumps(config),
        "sentence_bert_config.json": json.dumps({"max_seq_length": WINDOW}),
        "1_Pooling/config.json": json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}),
        "special_tokens_map.json": json.dumps(special),
        "tokenizer_config.json": json.dumps({"do_lower_case": True}),
        "vocab.txt": "\n".join(TOKENS) + "\n",
        "README.md": "---\nlicense: apache-2.0\n---\n",
    }
    files.update(changes)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr("package/model/" + name, content)


class Gguf:
    """Just enough of a reader, apart from the writer."""

    SCALARS = {4: "<I", 5: "<i", 6: "<f", 7: "<?"}

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        magic, version, n_tensors, n_keys = struct.unpack_from("<4sIQQ", self.bytes)
        assert (magic, version) == (b"GGUF", 3)
        self.at = 24
        self.keys, self.tensors = {}, {}
        for _ in range(n_keys):
            name, kind = self.text(), self.number("<I")
            if kind == 9:
                element, n = self.number("<I"), self.number("<Q")
                self.keys[name] = [self.value(element) for _ in range(n)]
            else:
                self.keys[name] = self.value(kind)
        for _ in range(n_tensors):
            name = self.text()
            shape = [self.number("<Q") for _ in range(self.number("<I"))]
            self.tensors[name] = (shape, self.number("<I"), self.number("<Q"))
        self.data = self.bytes[(self.at + 31) // 32 * 32:]

    def number(self, form):
        (value,) = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.number("<Q")
        self.at += n
        return self.bytes[self.at - n:self.at].decode()

    def value(self, kind):
        return self.text() if kind == 8 else self.number(self.SCALARS[kind])

    def floats(self, name):
        shape, kind, offset = self.tensors[name]
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        return list(struct.unpack_from(f"<{n}{'fe'[kind]}", self.data, offset))


class BertToGgufTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.archive = os.path.join(self.folder, "model.whl")
        self.out = os.path.join(self.folder, "tiny.gguf")

    def convert(self):
        return subprocess.run([sys.executable, SCRIPT, self.archive, self.out], capture_output=True, text=True)

    def test_everything_is_where_it_belongs(self):
        write_archive(self.archive)
        done = self.convert()
        self.assertEqual(done.returncode, 0, done.stderr)
        file = Gguf(self.out)
        self.assertEqual(file.keys["general.architecture"], "bert")
        self.assertEqual(file.keys["general.name"], "tiny")
        self.assertEqual(file.keys["general.license"], "apache-2.0")
        self.assertEqual(file.keys["bert.context_length"], WINDOW)
        self.assertEqual(file.keys["bert.pooling_type"], 1)
        self.assertEqual(file.keys["bert.attention.causal"], False)
        self.assertEqual(file.keys["tokenizer.ggml.tokens"],
                         ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581the", "ing", "\u2581.", "\u2581dog"])
        self.assertEqual(file.keys["tokenizer.ggml.token_type"], [3, 2, 3, 3, 3, 1, 1, 1, 1])
        self.assertEqual(file.keys["tokenizer.ggml.bos_token_id"], 2)
        self.assertEqual(file.keys["tokenizer.ggml.seperator_token_id"], 3)
        self.assertEqual(len(file.tensors), len(list(tensors())))
        self.assertEqual(file.tensors["position_embd.weight"][0], [WIDTH, WINDOW])
        self.assertEqual(file.tensors["blk.0.ffn_up.weight"][:2], ([WIDTH, INNER], 1))
        # Sixteenths up to 11/16 are exact in both types.
        expected = {name: [((7 * i + number) % 23 - 11) / 16 for i in range(64)]
                    for number, (name, _) in enumerate(tensors())}
        self.assertEqual(file.floats("blk.0.attn_k.weight"), expected["encoder.layer.0.attention.self.key.weight"])
        self.assertEqual(file.floats("blk.0.layer_output_norm.bias"),
                         expected["encoder.layer.0.output.LayerNorm.bias"][:WIDTH])

    def test_what_cannot_be_converted_leaves_nothing_behind(self):
        for changes in ({"model.safetensors": b"\x05"}, {"config.json": '{"model_type": "t5"}'}, {"README.md": "no licence"},
                        {"vocab.txt": "one\ntwo\n"}, {"1_Pooling/config.json": '{"pooling_mode_max_tokens": true}'}):
            write_archive(self.archive, **changes)
            done = self.convert()
            self.assertEqual(done.returncode, 1, changes)
            self.assertTrue(done.stderr.startswith("error: cannot convert "), done.stderr)
            self.assertEqual(os.listdir(self.folder), ["model.whl"])
        with open(self.archive, "wb") as file:
            file.write(b"PK not an archive")
        self.assertEqual(self.convert().returncode, 1)


if __name__ == "__main__":
    unittest.main()
