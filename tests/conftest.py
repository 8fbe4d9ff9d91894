"""Fixtures of more than one suite: real key-value servers, each test on an empty database."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import EngineProcess
from tests.key_values import SERVERS, KeyValueServer
from tests.live import LiveStack
from tests.processes import keep

os.environ["OMP_NUM_THREADS"] = "1"
"""Before anything loads torch: its threads wait for each other, for ever when others are busy."""

pytest_plugins = ("tests.plugins.needs", "tests.plugins.leaks", "tests.plugins.lanes")


@pytest.fixture(scope="session")
def servers(tmp_path_factory) -> Iterator[Callable[[str], KeyValueServer]]:
    """A running server by the name of its program, started once and emptied on each call."""
    running: dict[str, KeyValueServer] = {}

    def server(name: str) -> KeyValueServer:
        if name not in running:
            running[name] = KeyValueServer(name, tmp_path_factory.mktemp(name), durable=False)
            keep(running[name].start())
        running[name].empty()
        return running[name]

    yield server
    for one in running.values():
        one.kill()


@pytest.fixture(params=SERVERS)
def each_server(request, servers) -> KeyValueServer:
    """Valkey and Redis in turn, empty."""
    return servers(request.param)


@pytest.fixture
def own_server(tmp_path) -> Iterator[KeyValueServer]:
    """A server for one test to kill."""
    server = KeyValueServer("valkey", tmp_path, durable=True)
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
def stacks(tmp_path_factory) -> Iterator[list[LiveStack]]:
    """The last of them may be running."""
    started: list[LiveStack] = []
    yield started
    for stack in started:
        stack.stop()


@pytest.fixture
def live(stacks: list[LiveStack], tmp_path_factory) -> LiveStack:
    """One running stack for all tests; a new one where the last test has ended it."""
    if not (stacks and stacks[-1].runs):
        stack = LiveStack(tmp_path_factory.mktemp("live"))
        keep(stack.start())
        stacks.append(stack)
    return stacks[-1]


@pytest.fixture(scope="session")
def engines(tmp_path_factory) -> Iterator[list[EngineProcess]]:
    """The last of them may be running."""
    started: list[EngineProcess] = []
    yield started
    for engine in started:
        engine.stop()


@pytest.fixture
def shared_engine(engines: list[EngineProcess], tmp_path_factory) -> Iterator[EngineProcess]:
    """One vLLM on the arithmetic model for all tests, which has nothing loaded; a new one where the
    last test has killed it."""
    if not (engines and engines[-1].runs):
        engines.append(EngineProcess(tmp_path_factory.mktemp("engine")))
        keep(engines[-1].process)
    engines[-1].wait()
    yield engines[-1]
    if engines[-1].runs:
        engines[-1].empty()
