"""The `ratchet` command as a user meets it: mistakes, and what a server process weighs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.waiting import free_port, wait_until

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
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--port", port, "--state-dir", str(tmp_path))
    assert done.returncode == 2
    assert "port" in done.stderr


def test_redis_away_is_one_line(tmp_path: Path) -> None:
    done = run("releases", "list", "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


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
