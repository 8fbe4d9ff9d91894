"""A whole real stack for tests, started with the command a user types: `ratchet up`."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import OpenAI

from tests.ports import free_port
from tests.processes import end_all
from tests.waiting import wait_until

SETTINGS = {
    "groups_per_update": 4,
    "rollouts": 16,
    "train_rollouts": 16,
    "vote_confidence": 1.0,
    "gate_prompts": 8,
    "gate_holdout": 0,
    "gate_rollouts": 4,
    "gate_margin": 0.1,
    "learning_rate": 3e-4,
    "threads": 1,
    "lease_seconds": 3,
    "probe_seconds": 0.5,
}


class LiveStack:
    """Real Valkey, vLLM, learner and server. Everything it keeps is under `folder`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.port, self.engine_port, self.redis_port = free_port(), free_port(), free_port()
        flags = {**SETTINGS, **settings, "port": self.port, "engine_port": self.engine_port,
                 "state_dir": folder, "adapters_dir": folder / "adapters",
                 "log_dir": folder / "tensorboard"}  # fmt: skip
        self.flags = [
            part for k, v in flags.items() for part in (f"--{k.replace('_', '-')}", str(v))
        ]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def redis_url(self) -> str:
        return self.environment("server")["RATCHET_REDIS_URL"]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "up.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ratchet", "up", *self.flags],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        with ExitStack() as undo:
            undo.callback(self.stop)
            wait_until(self.ready, 120)
            undo.pop_all()
        return self.process

    def stop(self) -> int:
        """SIGTERM, as a service manager would; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            end_all([self.process.pid])
            raise

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "up.log").read_text()
        try:
            return httpx.get(f"{self.root}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def client(self, **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.root}/v1", api_key="none", max_retries=0, **options)

    def child(self, name: str) -> psutil.Process:
        """The process of one part: redis, engine, server or adapter."""
        assert self.process is not None
        words = {"redis": "-server", "engine": "vllm.entrypoints", "server": "ratchet serve",
                 "adapter": "ratchet adapt"}  # fmt: skip
        for child in psutil.Process(self.process.pid).children():
            if words[name] in " ".join(child.cmdline()):
                return child
        raise psutil.NoSuchProcess(0, name)

    def alive(self, name: str) -> bool:
        try:
            return self.child(name).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def kill(self, name: str) -> int:
        """SIGKILL one part and all it started; returns the process id that is gone."""
        victim = self.child(name)
        os.killpg(victim.pid, signal.SIGKILL)
        return victim.pid

    def environment(self, name: str) -> dict[str, str]:
        return self.child(name).environ()
