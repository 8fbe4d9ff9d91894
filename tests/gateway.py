"""`ratchet serve` as a process of its own over stand-ins for vLLM: for faults of serving."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port
from tests.waiting import wait_until

QUESTION = [{"role": "user", "content": "What is 2+2?"}]


class Upstream:
    """One stand-in for vLLM."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.fake_vllm", str(self.port)])
        wait_until(self.answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/stats", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def stats(self) -> dict[str, int]:
        counted = json.loads(httpx.get(f"{self.url}/stats", timeout=2).content)
        return {name: counted.get(name, 0) for name in ("under_way", "served", "aborted")}


class Gateway:
    """A server process over some upstreams."""

    def __init__(self, folder: Path, upstreams: list[Upstream], **settings: Any) -> None:
        self.port, self.folder = free_port(), folder
        self.upstreams = upstreams
        given = {
            "redis_url": "memory://", "port": self.port, "probe_seconds": 0.2, "rollouts": 4,
            "train_rollouts": 0, "vote_confidence": 1.0, "adapters_dir": folder / "adapters",
            "engine_url": ",".join(upstream.url for upstream in upstreams), **settings,
        }  # fmt: skip
        self.environment = {f"RATCHET_{k.upper()}": str(v) for k, v in given.items()}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, until: Callable[[], bool] | None = None) -> None:
        """Start it, and wait until it is ready, or `until` something else holds."""
        with (self.folder / f"server-{self.port}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ratchet", "serve"],
                env={**os.environ, **self.environment}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        wait_until(until or self.ready, 30)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.root}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def ready_or_gone(self) -> bool:
        """Whether a load balancer would still send requests here."""
        try:
            return httpx.get(f"{self.root}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return (self.folder / f"server-{self.port}.log").read_text()

    def metric(self, line: str) -> float:
        """The value of one sample of /metrics."""
        for found in httpx.get(f"{self.root}/metrics", timeout=5).text.splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0


@contextmanager
def gateway(folder: Path, upstreams: int = 1, **settings: Any) -> Iterator[Gateway]:
    """A running server over that many stand-ins."""
    with ExitStack() as stack:
        engines = [Upstream() for _ in range(upstreams)]
        for engine in engines:
            stack.callback(engine.kill)
            engine.start()
        server = Gateway(folder, engines, **settings)
        stack.callback(server.kill)
        server.start()
        yield server
