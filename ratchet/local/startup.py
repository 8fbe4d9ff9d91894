"""The start of a stack: waited for as long as its engine visibly gets on, and not longer."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import aiohttp

from ratchet.errors import StackFailed
from ratchet.local.child import GAVE_UP, Child

log = logging.getLogger("ratchet.stack")

_PATIENCE_SECONDS = 300.0
_SAY_SECONDS = 15.0
_POLL_SECONDS = 0.2
_ENDS = 3


def hub_folder(model: str) -> Path | None:
    """Where the Hub's library keeps a model that is fetched by name; None for a folder."""
    if Path(model).is_dir():
        return None
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


class Startup:
    """What is waited for while `engine` starts to serve `model`.

    `patience` seconds without progress are too many. Progress is a longer log of the engine or more
    in `cache`, the folder that the model is fetched into; once the engine answers, a log grows
    because it is asked, and counts no more. `clock` gives seconds.
    """

    def __init__(
        self,
        engine: Child,
        model: str,
        cache: Path | None,
        *,
        patience: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._model, self._cache = engine, model, cache
        self._patience, self._clock = patience, clock
        self._moved = self._said = clock()
        self._log_size, self._cache_size = _size([engine.log]), _size(_files(cache))
        self._fetched_at, self._answers = -_SAY_SECONDS, False

    def look(self, *, answers: bool) -> None:
        """Note what has changed, and whether the engine `answers`; say now and then what is waited
        for. Raises StackFailed after `patience` seconds in which nothing has changed."""
        now = self._clock()
        log_size, cache_size = _size([self._engine.log]), _size(_files(self._cache))
        if cache_size > self._cache_size:
            self._fetched_at = now
        grew = log_size > self._log_size or cache_size > self._cache_size
        if answers != self._answers or (grew and not answers):
            self._moved = now
        self._log_size, self._cache_size, self._answers = log_size, cache_size, answers
        if now - self._moved > self._patience:
            raise StackFailed(
                f"{self._wait(now)}, and nothing has changed for {self._patience:g} s; the "
                f"engine's log ends:\n{self._engine.log_tail()}"
            )
        if now - self._said >= _SAY_SECONDS:
            self._said = now
            log.info("%s", self._wait(now))

    def _wait(self, now: float) -> str:
        if self._answers:
            return "the engine answers; waiting for the server"
        if now - self._fetched_at < _SAY_SECONDS:
            size = f"{self._cache_size / 1e6:.0f} MB"
            return f"waiting for {self._model} to be fetched: {size} in {self._cache}"
        return f"waiting for the engine, which writes to {self._engine.log}"


async def until_ready(
    startup: Startup, children: Collection[Child], *, server: str, engine: str
) -> None:
    """Return when the server at this base URL is ready. Raises StackFailed when the one at `engine`
    does not get on, and at once, with the tail of its log, when a process keeps ending."""
    timeout = aiohttp.ClientTimeout(5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not await _answers(session, f"{server}/readyz"):
            _check_starts(children)
            startup.look(answers=await _answers(session, f"{engine}/health"))
            await asyncio.sleep(_POLL_SECONDS)


async def until_alive(children: Collection[Child], server: str) -> None:
    """Return when the server at this base URL runs, whatever its engine does: that one is not ours,
    and the server's log says what is wrong with it. Raises StackFailed as `until_ready`."""
    timeout = aiohttp.ClientTimeout(5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not await _answers(session, f"{server}/livez"):
            _check_starts(children)
            await asyncio.sleep(_POLL_SECONDS)


def _check_starts(children: Collection[Child]) -> None:
    for child in children:
        if child.restarts >= _ENDS - 1 or child.exit_code == GAVE_UP:
            raise StackFailed(f"{child.name} does not start:\n{child.log_tail()}")


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as reply:
            return reply.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _files(folder: Path | None) -> Iterable[Path]:
    """All files below `folder`."""
    if folder is None:
        return
    for root, _, names in os.walk(folder):
        yield from (Path(root) / name for name in names)


def _size(files: Iterable[Path]) -> int:
    """Bytes of these files; of a link, its own: the Hub's snapshots are links to its blobs."""
    total = 0
    for file in files:
        try:
            total += file.lstat().st_size
        except FileNotFoundError:  # the Hub renames what is complete
            continue
    return total
