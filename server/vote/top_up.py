"""Completes recorded groups to the learner's vote count while the engine has nothing better to do.

More rollouts make a better vote to learn from (TTRL, arXiv 2504.16084, takes 64), but nobody waits
for them: they come at a low priority, in small portions, and are broken off as soon as the room is
wanted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from rewards.rollouts import Rollout, RolloutGroup
from server.engine.base import Draw, Engine, EngineError, EngineRequest, Priority, Prompt, draw_all
from server.metrics import ServerMetrics
from server.policy.leases import Policy
from server.vote.admission import Admission

_PORTION = 8
_LOOK_SECONDS = 0.05
_MAX_WAITING_TOKENS = 2_000_000
"""What waits here is kept in memory: 12 bytes a token."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A group, and how more of its rollouts are drawn. `held` keeps its version loaded."""

    group: RolloutGroup
    engine_name: str
    prompt: Prompt
    options: Mapping[str, Any]
    held: ExitStack

    @property
    def size(self) -> int:
        """Rollouts so far."""
        return len(self.group.rollouts)

    @property
    def tokens(self) -> int:
        """Tokens of these rollouts."""
        return sum(len(rollout.token_ids) for rollout in self.group.rollouts)


class TopUp:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        *,
        engine: Engine,
        policy: Policy,
        admission: Admission,
        record: Callable[[RolloutGroup], object],
        rollouts_of: Callable[[Sequence[Draw]], Awaitable[list[Rollout]]],
        target: int,
        metrics: ServerMetrics,
        limit: int = 256,
        at_once: int = 4,
    ) -> None:
        self._engine, self._policy, self._admission = engine, policy, admission
        self._record, self._rollouts_of, self._target = record, rollouts_of, target
        self._metrics, self._limit, self._at_once = metrics, limit, at_once
        self._waiting: deque[Unfinished] = deque()
        self._waiting_tokens = 0
        self._running: dict[asyncio.Task[None], Unfinished] = {}
        self._arrived = asyncio.Event()
        admission.on_busy = self._yield

    def offer(self, unfinished: Unfinished) -> None:
        """Complete a group some time, or record it as it is: at once if it is complete, or when
        there are too many others."""
        if unfinished.size >= self._target:
            self._let_go(unfinished)
            return
        self._waiting.append(unfinished)
        self._waiting_tokens += unfinished.tokens
        self._metrics.top_up_groups.set(len(self._waiting))
        self._arrived.set()
        while len(self._waiting) > self._limit or self._waiting_tokens > _MAX_WAITING_TOKENS:
            self._let_go(self._next())

    async def run(self) -> None:
        """Work on what waits, the oldest first."""
        while True:
            self._arrived.clear()
            self._release_outdated()
            while self._waiting and self._admission.idle and len(self._running) < self._at_once:
                unfinished = self._next()
                self._running[asyncio.create_task(self._portion(unfinished))] = unfinished
            arrival = asyncio.create_task(self._arrived.wait())
            try:
                await asyncio.wait(
                    {arrival, *self._running},
                    timeout=_LOOK_SECONDS if self._waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                arrival.cancel()
            for task in [task for task in self._running if task.done()]:
                unfinished = self._running.pop(task)
                if task.cancelled():
                    self.offer(unfinished)

    def flush(self) -> None:
        """Record everything as it is."""
        self._yield()
        for unfinished in self._running.values():
            self._let_go(unfinished)
        self._running.clear()
        while self._waiting:
            self._let_go(self._next())

    async def _portion(self, unfinished: Unfinished) -> None:
        """Draw some more for one group, and put it back or record it."""
        count = min(_PORTION, self._target - unfinished.size)
        options = {**unfinished.options, "n": count}
        if "seed" in options:
            options["seed"] += unfinished.size
        name, prompt = unfinished.engine_name, unfinished.prompt
        request = EngineRequest(name, prompt, options, Priority.TOP_UP)
        try:
            draws = await draw_all(self._engine, request)
            rollouts = [*unfinished.group.rollouts, *await self._rollouts_of(draws)]
        except EngineError:
            self._let_go(unfinished)
            return
        self._metrics.top_ups.inc(len(draws))
        self.offer(replace(unfinished, group=replace(unfinished.group, rollouts=rollouts)))

    def _next(self) -> Unfinished:
        unfinished = self._waiting.popleft()
        self._waiting_tokens -= unfinished.tokens
        self._metrics.top_up_groups.set(len(self._waiting))
        return unfinished

    def _yield(self) -> None:
        """Make room at once."""
        for task in self._running:
            task.cancel()

    def _release_outdated(self) -> None:
        """A version that no longer answers is to be let go of: it may have to be unloaded."""
        for _ in range(len(self._waiting)):
            unfinished = self._next()
            if unfinished.group.policy_version == self._policy.live:
                self._waiting.append(unfinished)
                self._waiting_tokens += unfinished.tokens
            else:
                self._let_go(unfinished)

    def _let_go(self, unfinished: Unfinished) -> None:
        self._record(unfinished.group)
        unfinished.held.close()
