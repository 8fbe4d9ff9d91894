#!/usr/bin/env bash
# Write dev.txt, cpu.txt, server.txt, adapter.txt, torch-cuda.txt and torch-cpu.txt from pyproject.toml. Existing pins stay where they still
# fit; `--upgrade` moves them.
# Where packages come from is uv's own configuration; no host and no path of this machine ends up in a lock.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"${PYTHON:-python3}" -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet uv
cat "$here/../../pyproject.toml" "$here/resolve.toml" >"$tmp/pyproject.toml"
echo "setuptools>=77" >"$tmp/build.in" # builds Ratchet itself; no extra names it
cd "$tmp"

tidy() { # tidy FILE: these two platforms are all there is, and a marker that says only that says nothing
  sed -i "s/ ; (platform_machine == 'aarch64' or platform_machine == 'x86_64') and platform_python_implementation == 'CPython' and sys_platform == 'linux'//" "$1"
}
lock() { # lock EXTRA [uv option...]
  cp "$here/$1.txt" "$1.txt" 2>/dev/null || true
  venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-package torch --extra "$1" "${@:2}" --output-file "$1.txt" pyproject.toml build.in
  tidy "$1.txt"
}

lock dev "$@"
for extra in cpu server adapter; do
  lock "$extra" --constraint dev.txt
done

# The clients of docs/clients.md have an environment of their own.
clients=$here/../clients
cp "$clients/requirements.txt" clients.txt 2>/dev/null || true
mkdir clients && cp "$clients/requirements.in" clients
sed -n '/^environments/,/^]/p' "$here/resolve.toml" | { echo "[tool.uv]"; cat; } >clients/pyproject.toml
(cd clients && ../venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  "$@" --output-file ../clients.txt requirements.in)
tidy clients.txt
{ echo "# Written by \`make lock\`: do not edit."; cat clients.txt; } >"$clients/requirements.txt"
echo "deploy/clients/requirements.txt: $(grep -c '==' clients.txt) pins"

# torch and what only its CUDA build needs: the rest is in the other locks. Its CPU build has an index of its own.
version=$(sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' "$here/../../pyproject.toml")
mkdir torch
sed -n '/^environments/,/^]/p' "$here/resolve.toml" | { echo "[tool.uv]"; cat; } >torch/pyproject.toml
torch_lock() { # torch_lock NAME REQUIREMENT [uv option...]
  echo "$2" >torch/torch.in
  (cd torch && ../venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    "${@:3}" --output-file "../$1.txt" torch.in)
  tidy "$1.txt"
  awk '/^[^ ]/ { kept = /^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/ } kept' "$1.txt" >"$1.kept"
  { echo "# Written by \`make lock\`: do not edit. Installed by install_torch.sh."; cat "$1.kept"; } >"$here/$1.txt"
  echo "deploy/lock/$1.txt: $(grep -c '==' "$1.kept") pins"
}
torch_lock torch-cuda "torch==$version" --constraint <(grep -o '^[a-z0-9][^ ;]*==[^ ;]*' dev.txt)
torch_lock torch-cpu "torch==$version+cpu" --index https://download.pytorch.org/whl/cpu ||
  echo "deploy/lock/torch-cpu.txt: PyTorch's CPU index does not answer; left as it was" >&2

for extra in dev cpu server adapter; do
  { echo "# Written by \`make lock\`: do not edit. torch comes from install_torch.sh."; grep -v '^#' "$extra.txt"; } >"$here/$extra.txt"
  echo "deploy/lock/$extra.txt: $(grep -c '==' "$extra.txt") pins"
done
