#!/usr/bin/env bash
# install.sh PYTHON FOLDER: the clients of docs/clients.md, by hash, into an environment of their own at FOLDER.
# Those for Node only where npm is.
set -euo pipefail
python=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --no-compile --no-deps --require-hashes -r "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$folder"
if command -v npm >/dev/null; then
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund
else
  echo "WARNING: npm is missing, and so are the clients for Node: apt-get install npm" >&2
fi
