"""Real vLLM engines for tests: one for all that leave it as they found it, more for the others."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from evals.arithmetic.rollouts import MODEL
from ratchet.local.programs import engine_command, engine_environment
from ratchet.settings import StackSettings
from tests.ports import free_port
from tests.processes import end_all
from tests.waiting import wait_until


class EngineProcess:
    """vLLM on the arithmetic model or another, started as `ratchet up` starts it."""

    def __init__(self, folder: Path, model: Path = MODEL, **given: Any) -> None:
        self.log, self.port = folder / "engine.log", free_port()
        settings = StackSettings(**{"model": str(model), "dtype": "float32", **given})
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                engine_command(settings, self.port),
                env={**os.environ, **engine_environment(settings, cpu=True)},
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> None:
        """Until it answers."""
        wait_until(self._ready, 120)

    def models(self) -> set[str]:
        """What it serves: base, and the adapters that are loaded."""
        return {model["id"] for model in httpx.get(f"{self.url}/v1/models").json()["data"]}

    def empty(self) -> None:
        """Unload every adapter."""
        for name in self.models() - {"base"}:
            body = {"lora_name": name}
            httpx.post(f"{self.url}/v1/unload_lora_adapter", json=body).raise_for_status()

    def kill(self) -> None:
        """SIGKILL it and all it started."""
        end_all([self.process.pid])
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def _ready(self) -> bool:
        assert self.runs, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def running_engine(folder: Path, model: Path = MODEL, **given: Any) -> Iterator[EngineProcess]:
    """Starts, in fp32 or with the settings that are given; whether it answers yet is not waited
    for."""
    engine = EngineProcess(folder, model, **given)
    try:
        yield engine
    finally:
        engine.stop()
