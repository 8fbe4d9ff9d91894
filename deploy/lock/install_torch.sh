#!/usr/bin/env bash
# install_torch.sh PYTHON [cpu|cuda]: torch, at the version and with the hashes of torch-cpu.txt or torch-cuda.txt,
# into PYTHON's environment. Its CPU build is not on every index: first wherever pip is configured to look, then
# PyTorch's own index, then the ordinary build with all it needs (CUDA libraries on x86_64, some 3 GB).
set -euo pipefail
python=$1 build=${2:-cpu}
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$here/torch-cuda.txt")
have=$("$python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
if [[ $have == "$version" || $have == "$version"+* ]]; then
  echo "torch $have is already there"
  exit
fi

install() { "$python" -m pip install --no-deps --require-hashes "$@"; }
if [[ $build == cpu ]]; then
  echo "torch $version+cpu: asking where pip is configured to look"
  install -r "$here/torch-cpu.txt" && exit
  echo "torch $version+cpu: not there; asking PyTorch's CPU index"
  install --retries 1 --timeout 30 --index-url https://download.pytorch.org/whl/cpu -r "$here/torch-cpu.txt" && exit
  echo "torch $version+cpu: not there either; installing plain torch $version"
fi
install -r "$here/torch-cuda.txt"
