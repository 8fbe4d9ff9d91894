"""The service `fetch` against a Hub of our own: what it fetches, what it refuses, its health."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "consolidated.safetensors": b"the same weights once more",
}


class Hub(http.server.BaseHTTPRequestHandler):
    """What the Hub's API says of the repository org/name, and its files."""

    files: Mapping[str, bytes] = FILES

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def _reply(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers, name = {}, path.rpartition("/")[2]
        if path == f"/api/models/org/name/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": each, "size": len(data), "oid": "0" * 40}
                for each, data in self.files.items()
            ]
            body = json.dumps(tree).encode()
        elif path.startswith("/api/models/org/name/"):
            listed = [{"rfilename": each} for each in self.files]
            about = {"_id": "1", "id": "org/name", "sha": COMMIT, "siblings": listed}
            body = json.dumps(about).encode()
        elif path.startswith(f"/org/name/resolve/{COMMIT}/") and name in self.files:
            body = self.files[name]
            tag = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
        else:
            body, headers = b"{}", {"X-Error-Code": "RepoNotFound"}
        self.send_response(404 if "X-Error-Code" in headers else 200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub(files: Mapping[str, bytes] = FILES) -> Iterator[str]:
    handler = type("Hub", (Hub,), {"files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(home: Path, model: str, endpoint: str = "") -> subprocess.CompletedProcess[str]:
    """The script as the container runs it."""
    environment = {**os.environ, "HF_HOME": str(home), "RATCHET_MODEL": model}
    environment.pop("HF_HUB_OFFLINE", None)
    if endpoint:
        environment["HF_ENDPOINT"] = endpoint
    return subprocess.run(
        [sys.executable, fetch.__file__], env=environment, capture_output=True, text=True
    )


def test_weights_and_tokenizer_are_fetched_and_nothing_twice_or_pickled(tmp_path: Path) -> None:
    with hub() as endpoint:
        done = run(tmp_path, "org/name", endpoint)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "hub" / "models--org--name" / "snapshots" / COMMIT
    assert f"fetch: {folder} is complete" in done.stdout
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert found == {name: FILES[name] for name in list(FILES)[:3]}


def test_a_repository_that_is_not_there_or_private_is_named(tmp_path: Path) -> None:
    with hub() as endpoint:
        done = run(tmp_path, "org/other", endpoint)
    assert done.returncode == 2
    assert "RATCHET_MODEL org/other is not there, or wants HF_TOKEN" in done.stderr


def test_only_pickled_weights_are_refused(tmp_path: Path) -> None:
    files = {name: data for name, data in FILES.items() if "safetensors" not in name}
    with hub(files) as endpoint:
        done = run(tmp_path, "org/name", endpoint)
    assert (done.returncode, "no .safetensors" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("model", "said"),
    [("", "set RATCHET_MODEL"), ("/files/none", "FILES"), ("a b", "RATCHET_MODEL a b")],
)
def test_what_cannot_be_fetched_is_named(tmp_path: Path, model: str, said: str) -> None:
    with pytest.raises(fetch.Refused, match=said):
        fetch.fetch(model)


def test_a_folder_is_only_looked_at(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(fetch.Refused, match=name.rpartition(".")[2]):
            fetch.fetch(str(tmp_path))
        (tmp_path / name).touch()
    assert fetch.fetch(str(tmp_path)) == str(tmp_path)


def test_a_part_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """The service is started again after any end but 0."""
    parts = ["one.safetensors", "two.safetensors"]
    index = {"weight_map": {"a": parts[0], "b": parts[1], "c": parts[0]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", parts[0]):
        (tmp_path / name).touch()
    done = run(tmp_path, str(tmp_path))
    assert (done.returncode, f"lacks {parts[1]}" in done.stderr) == (1, True)
    (tmp_path / parts[1]).touch()
    assert run(tmp_path, str(tmp_path)).returncode == 0


def test_it_is_healthy_while_something_arrives(tmp_path: Path) -> None:
    assert not fetch.arrives(tmp_path, 1000.0)
    blob = tmp_path / "hub" / "blob"
    blob.parent.mkdir()
    blob.touch()
    os.utime(blob, (1000.0, 1000.0))
    assert fetch.arrives(tmp_path, 1119.0)
    assert not fetch.arrives(tmp_path, 1121.0)
