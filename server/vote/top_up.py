"""Completes groups to the learner's number of rollouts while the engine is idle.

More rollouts make a better vote to learn from (TTRL, arXiv 2504.16084, takes 64). No reply waits
for them: they have a low priority, come in small portions, and are aborted if room is needed.
"""

import asyncio
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace

from rewards.rollouts import RolloutGroup
from server.engine.base import Draw, Engine, EngineError, EngineRequest, Priority
from server.metrics import ServerMetrics
from server.policy.learning_share import LearningShare
from server.policy.leases import Policy
from server.policy.spending import Spending
from server.recording.recorder import Recorder, bytes_of
from server.recording.transcript import Transcript
from server.vote.admission import Admission

_PORTION, _AT_ONCE = 8, 4
_CHECK_SECONDS = 0.05
_MAX_WAITING_BYTES = 24 << 20
"""Of the groups that wait in memory."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A group, and the `request` for more of its rollouts, whose options have so many bytes. `held`
    keeps its version loaded. `chosen_by` rollouts were drawn before, by which it was chosen: they
    are not in it, and count."""

    group: RolloutGroup
    request: EngineRequest
    held: ExitStack
    options_bytes: int = 0
    chosen_by: int = 0

    @property
    def size(self) -> int:
        """Rollouts drawn so far."""
        return self.chosen_by + len(self.group.rollouts)

    @property
    def bytes(self) -> int:
        """About how many it takes in memory: the prompt is in the request again, with tools and
        the like."""
        return bytes_of(self.group) + len(self.group.prompt) + self.options_bytes


class TopUp:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        *,
        engine: Engine,
        policy: Policy,
        admission: Admission,
        share: LearningShare,
        recorder: Recorder,
        transcript: Transcript,
        target: int,
        spending: Spending,
        metrics: ServerMetrics,
        limit: int = 256,
    ) -> None:
        self._engine, self._policy, self._admission = engine, policy, admission
        self._share, self._recorder = share, recorder
        self._transcript, self._target = transcript, target
        self._spending, self._metrics, self.limit = spending, metrics, limit
        self._waiting: deque[Unfinished] = deque()
        self._waiting_bytes = 0
        self._running: dict[asyncio.Task[None], Unfinished] = {}
        self._arrived = asyncio.Event()
        admission.on_busy = self._abort

    def add(self, unfinished: Unfinished) -> None:
        """Complete a group some time. It is recorded as it is at once if it is complete or its
        version no longer answers, and later if there are too many others. It is dropped if its
        client has opted out."""
        if self._recorder.has_opted_out(unfinished.group.client):
            unfinished.held.close()
            return
        live = unfinished.group.policy_version == self._policy.live
        if unfinished.size >= self._target or not live:
            self._record(unfinished)
            return
        self._waiting.append(unfinished)
        self._waiting_bytes += unfinished.bytes
        self._metrics.top_up_groups.set(len(self._waiting))
        self._arrived.set()
        while len(self._waiting) > self.limit or self._waiting_bytes > _MAX_WAITING_BYTES:
            self._record(self._pop())

    async def run(self) -> None:
        """Work on what waits, the oldest first."""
        while True:
            self._sweep()
            self._arrived.clear()
            while self._may_draw and len(self._running) < _AT_ONCE:
                unfinished = self._pop()
                self._running[asyncio.create_task(self._draw_some(unfinished))] = unfinished
            arrival = asyncio.create_task(self._arrived.wait())
            try:
                await asyncio.wait(
                    {arrival, *self._running},
                    timeout=_CHECK_SECONDS if self._waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                arrival.cancel()
            for task in [task for task in self._running if task.done()]:
                unfinished = self._running.pop(task)
                if task.cancelled():
                    self.add(unfinished)

    def forget(self) -> int:
        """Drop the groups of clients that have opted out. Returns how many."""
        theirs = self._recorder.has_opted_out
        drawing = [task for task, one in self._running.items() if theirs(one.group.client)]
        for task in drawing:
            task.cancel()
        waiting = len(self._waiting)
        self._sweep()
        return len(drawing) + waiting - len(self._waiting)

    def flush(self) -> None:
        """Record everything as it is."""
        self._abort()
        for unfinished in self._running.values():
            self._record(unfinished)
        self._running.clear()
        while self._waiting:
            self._record(self._pop())

    @property
    def _may_draw(self) -> bool:
        """Whether something waits, for which there is room and budget."""
        return bool(self._waiting) and self._admission.idle and self._spending.affords

    async def _draw_some(self, unfinished: Unfinished) -> None:
        """Draw a portion for one group, and put it back or record it."""
        count = min(_PORTION, self._target - unfinished.size)
        options = {**unfinished.request.options, "n": count}
        if "seed" in options:
            options["seed"] += unfinished.size
        try:
            async with self._share.take(count) as beside_clients:
                order = Priority.CLIENT if beside_clients else Priority.TOP_UP
                request = replace(unfinished.request, options=options, priority=order)
                draws = await self._drawn(request)
            rollouts = [*unfinished.group.rollouts, *await self._transcript.rollouts(draws)]
        except EngineError:
            self._record(unfinished)
            return
        self.add(replace(unfinished, group=replace(unfinished.group, rollouts=rollouts)))

    async def _drawn(self, request: EngineRequest) -> list[Draw]:
        """The rollouts of a request, each counted when it is in: more may be broken off."""
        draws: list[Draw] = []
        async with self._engine.draw(request) as batches:
            async for batch in batches:
                draws += batch
                self._metrics.top_ups.inc(len(batch))
                tokens = sum(draw.tokens for draw in batch)
                self._metrics.tokens["learning"].inc(tokens)
                self._spending.generated(tokens)
        return draws

    def _pop(self) -> Unfinished:
        unfinished = self._waiting.popleft()
        self._waiting_bytes -= unfinished.bytes
        self._metrics.top_up_groups.set(len(self._waiting))
        return unfinished

    def _abort(self) -> None:
        """Break off all portions, to make room at once."""
        for task in self._running:
            task.cancel()

    def _sweep(self) -> None:
        """Release versions that no longer answer: they may have to be unloaded."""
        for _ in range(len(self._waiting)):
            self.add(self._pop())

    def _record(self, unfinished: Unfinished) -> None:
        self._recorder.record(unfinished.group)
        unfinished.held.close()
