"""The `ratchet` command as a user meets it: mistakes, and what a server process weighs."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "ratchet"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("command", ["serve", "adapt", "up", "releases"])
def test_an_unknown_setting_ends_with_2_and_its_name(command: str) -> None:
    arguments = [command, "list"] if command == "releases" else [command]
    started = time.monotonic()
    done = run(*arguments, RATCHET_COLOUR="red")
    assert done.returncode == 2
    assert "RATCHET_COLOUR" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 5


def test_an_unknown_flag_ends_with_2() -> None:
    done = run("serve", "--colour", "red")
    assert done.returncode == 2
    assert "--colour" in done.stderr


def test_a_port_in_use_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--port", port, "--state-dir", str(tmp_path))
    assert done.returncode == 2
    assert "port" in done.stderr


@pytest.mark.parametrize(
    ("command", "setting", "value"),
    [
        ("serve", "port", "{taken}"),
        ("serve", "admin-port", "{taken}"),
        ("adapt", "adapter-metrics-port", "{taken}"),
        ("adapt", "model", "/no/such/model"),
        ("adapt", "model", "{folder}"),
        ("adapt", "device", "cuda"),
        ("adapt", "adapters-dir", "{file}/adapters"),
        ("adapt", "log-dir", "{file}/logs"),
        ("up", "state-dir", "{file}/state"),
        ("up", "engine-port", "{taken}"),
        ("up", "lora-rank", "24"),
        ("adapt", "lora-rank", "24"),
        ("up", "chat-template", "{folder}/none.jinja"),
        ("serve", "redis-url", "http://127.0.0.1:6379"),
        ("adapt", "redis-url", "localhost"),
        ("serve", "keys-file", "{folder}/none.jsonl"),
        ("serve", "gate-file", "{folder}/none.jsonl"),
    ],
)
def test_what_cannot_work_ends_with_2_and_one_line_that_names_it(
    command: str, setting: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {"taken": taken.getsockname()[1], "folder": tmp_path / "empty",
                  "file": tmp_path / "file"}  # fmt: skip
        flags = {
            "adapters-dir": str(tmp_path / "adapters"),
            "redis-url": f"redis://127.0.0.1:{free_port()}/0",
            setting: value.format(**places),
        }
        if command == "adapt":
            flags.setdefault("log-dir", str(tmp_path / "logs"))
        if setting == "admin-port":
            flags["admin-key"] = "a secret of sixteen"
        if command != "adapt" and setting != "port":
            flags["port"] = str(free_port())
        done = run(command, *(part for k, v in flags.items() for part in (f"--{k}", v)))
    lines = [line for line in done.stderr.splitlines() if line.startswith("ratchet: ")]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert setting.replace("-", "_") in lines[0], lines[0]
    assert "Traceback" not in done.stderr


def test_redis_away_is_one_line(tmp_path: Path) -> None:
    done = run("releases", "list", "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.needs("libnuma")
def test_doctor_finds_everything_here() -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    assert "MISS" not in done.stdout


def test_the_server_is_light_and_free_of_torch(tmp_path: Path) -> None:
    """Up in 2 s and 150 MB, without engine or Redis; nothing of torch is mapped."""
    port = free_port()
    started = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--redis-url",
         f"redis://127.0.0.1:{free_port()}/0", "--adapters-dir", str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def up() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(up, 20)
        seconds = time.monotonic() - started
        running = psutil.Process(process.pid)
        megabytes = running.memory_info().rss / 2**20
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "torch" not in maps
        children = [child.name() for child in running.children(recursive=True)]
        assert children == []  # nobody's mathematics has been asked for yet
        assert megabytes <= 150
        cpu = running.cpu_times()
        assert min(seconds, cpu.user + cpu.system) <= 2.0
        ready = httpx.get(f"http://127.0.0.1:{port}/readyz")
        assert ready.status_code == 503
    finally:
        process.terminate()
        assert process.wait(20) == 0
