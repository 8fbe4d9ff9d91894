"""Engines behind a host name whose addresses come and go, as those of a headless service do."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from server.engine.base import Engine

log = logging.getLogger("ratchet.engine")

PREFIX = "dns+"
_LOOK_UP_SECONDS = 5.0

Resolve: TypeAlias = Callable[[str, int], Awaitable[Collection[str]]]
"""(host, port) -> the host's IP addresses. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Change:
    """Replicas by host and port: those that are new, and the names of those that are gone."""

    joined: Mapping[str, Engine]
    left: Collection[str]


async def addresses_of(host: str, port: int) -> Collection[str]:
    """What the system's resolver knows, of one family. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return of_one_family({str(address[0]) for *_, address in found})


def of_one_family(addresses: Collection[str]) -> Collection[str]:
    """IPv4 addresses, or IPv6 ones if there are no others: an engine with both is one replica."""
    return {one for one in addresses if ":" not in one} or addresses


class Discovery:
    """Looks up the `dns+http://HOST:PORT` among `urls`, which are separated by commas, and makes an
    engine of the URL of each address that appears. A name that cannot be looked up keeps the
    addresses that it had: a resolver that fails takes no engine away."""

    def __init__(
        self,
        urls: str,
        make: Callable[[str], Engine],
        *,
        pause: float,
        resolve: Resolve = addresses_of,
    ) -> None:
        named = [url.strip() for url in urls.split(",") if url.strip().startswith(PREFIX)]
        parts = [urlsplit(url.removeprefix(PREFIX)) for url in named]
        self._names = [(part.hostname or "", part.port or 80) for part in parts]
        self._make, self._pause, self._resolve = make, pause, resolve
        self._unknown: set[tuple[str, int]] = set()

    async def changes(self) -> AsyncIterator[Change]:
        """Every change since the last look, the first being all that is found; without end, unless
        there is nothing to look up."""
        known: dict[tuple[str, int], Collection[str]] = {}
        present: set[str] = set()
        while self._names:
            for name in self._names:
                if replicas := await self._look_up(*name):
                    known[name] = replicas
            now = {replica for replicas in known.values() for replica in replicas}
            if now != present:
                log.info("engines found: %s", ", ".join(sorted(now)))
                joined = {name: self._make(f"http://{name}") for name in sorted(now - present)}
                yield Change(joined, sorted(present - now))
                present = now
            await asyncio.sleep(self._pause)

    async def _look_up(self, host: str, port: int) -> Collection[str]:
        """Host and port of each replica; none if the name cannot be looked up now."""
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:  # a timeout is an OSError too
            if (host, port) not in self._unknown:
                why = str(error) or type(error).__name__
                log.warning("engine_url: %s cannot be looked up: %s", host, why)
            self._unknown.add((host, port))
            return ()
        self._unknown.discard((host, port))
        return {f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in addresses}
