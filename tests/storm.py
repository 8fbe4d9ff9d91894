"""Sends made-up requests to a real server over a stand-in engine: `python -m tests.storm`.

A reply of 5xx, none in time, one that is no HTTP, a line in the log, or memory that goes on growing
is a failure; so is an error that repeats what was asked.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.gateway import Gateway, gateway
from tests.made_up import SECRET, MadeUp, Maker

CLIENTS = 8
_PATIENCE = 30.0
_KEPT = 20
"""Failures that are told."""


@dataclass
class Storm:
    """What became of the requests so far."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    hung_up: int = 0
    failures: list[str] = field(default_factory=list[str])
    memory: list[int] = field(default_factory=list[int])
    """Bytes of the server, ten times in all."""
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """Requests sent."""
        return sum(self.statuses.values()) + self.hung_up

    @property
    def grown(self) -> int:
        """Bytes by which the server grew from the middle to the end."""
        return max(0, self.memory[-1] - self.memory[len(self.memory) // 2])

    def told(self) -> str:
        """In a line."""
        classes = Counter[str]()
        for status, count in self.statuses.items():
            classes[f"{status // 100}xx"] += count
        shown = ", ".join(f"{count:,} {name}" for name, count in sorted(classes.items()))
        first, last = (f"{size / 2**20:.0f} MB" for size in (self.memory[0], self.memory[-1]))
        return (
            f"{self.cases:,} requests in {self.seconds:.0f} s: {shown}, {self.hung_up:,} hung up; "
            f"memory {first} to {last}, {self.grown / 2**20:.0f} MB of it in the second half; "
            f"{len(self.failures)} failures"
        )


async def reply_to(
    made: MadeUp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, bytes, bool]:
    """Status and body of a reply, and whether the connection stays."""
    lines = [f"{made.method} {made.path} HTTP/1.1", "host: 127.0.0.1",
             *(f"{name}: {value}" for name, value in made.headers),
             f"content-length: {len(made.body)}", "", ""]  # fmt: skip
    writer.write("\r\n".join(lines).encode() + made.body)
    if made.hangs_up is not None:
        if made.hangs_up:
            await reader.read(made.hangs_up)
        return 0, b"", False
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    stays = b"connection: close" not in head
    if made.method == "HEAD" or status in (204, 304):
        return status, b"", stays
    if b"transfer-encoding: chunked" not in head:
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return status, await reader.readexactly(int(length)), stays
    parts: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return status, b"".join(parts), stays


class Client:
    """Sends requests one after the other over a connection that it keeps."""

    def __init__(self, server: Gateway, storm: Storm) -> None:
        self._server, self._storm = server, storm
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, made: MadeUp, maker: Maker) -> None:
        storm = self._storm
        try:
            async with asyncio.timeout(_PATIENCE):
                if self._open is None:
                    self._open = await asyncio.open_connection(
                        "127.0.0.1", self._server.port, limit=1 << 24
                    )
                status, body, stays = await reply_to(made, *self._open)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            storm.statuses[0] += 1
            self._fail(made, repr(error), b"")
            self.close()
            return
        if not stays:
            self.close()
        if made.hangs_up is not None:
            storm.hung_up += 1
            return
        storm.statuses[status] += 1
        if status >= 500 or (status >= 400 and SECRET.encode() in body):
            self._fail(made, str(status), body)
        if status == 200 and made.path.endswith("/completions") and body.startswith(b"{"):
            maker.ids = [*maker.ids[-50:], json.loads(body)["id"]]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _fail(self, made: MadeUp, what: str, body: bytes) -> None:
        if len(self._storm.failures) < _KEPT:
            shown = f"{what}: {made.method} {made.path} {made.body[:600]!r} -> {body[:300]!r}"
            self._storm.failures.append(shown)


async def blow(server: Gateway, cases: int, seconds: float, seed: int) -> Storm:
    """Send so many requests, for so many seconds at most."""
    assert server.process is not None
    process, storm, maker = psutil.Process(server.process.pid), Storm(), Maker(seed)
    began = time.monotonic()
    sent = 0

    async def client() -> None:
        nonlocal sent
        one = Client(server, storm)
        while sent < cases and time.monotonic() - began < seconds:
            sent += 1
            if sent >= len(storm.memory) * cases / 10:
                storm.memory.append(process.memory_info().rss)
            await one.send(maker.request(), maker)
        one.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    storm.seconds = time.monotonic() - began
    storm.memory.append(process.memory_info().rss)
    return storm


def storm(cases: int, seconds: float, seed: int) -> Storm:
    """A server of its own, and the storm over it."""
    settings = {"rollouts": 3, "max_rollouts": 8, "capacity_tokens": 10**12}
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), **settings) as server:
        found = asyncio.run(blow(server, cases, seconds, seed))
        if not server.ready():
            found.failures.append("the server is gone")
        if log := server.log():
            found.failures.append(f"in the log: {log[:2000]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="requests [20000]")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most [60]")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = storm(chosen.cases, 60 * chosen.minutes, chosen.seed)
    print(*found.failures, found.told(), sep="\n")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
