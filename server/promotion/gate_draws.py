"""Rollouts for the gate: within learning's share of the engine, and within a time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from server.engine.base import (
    Draw,
    Engine,
    EngineRefused,
    EngineRequest,
    EngineTimeout,
    Priority,
)
from server.policy.learning_share import LearningShare

log = logging.getLogger("ratchet.promotion")

_NEVER = frozenset({400, 413, 422})
"""Statuses of requests that are refused for what they are, and will be the next time."""


@dataclass(slots=True, kw_only=True)
class GateDraws:
    """One per server process; `on_tokens` counts what is drawn, `on_scored` what is scored."""

    engine: Engine
    share: LearningShare
    on_tokens: Callable[[int], None] = lambda _: None
    on_scored: Callable[[int], None] = lambda _: None
    tokens: int = 0
    """Drawn since the start."""

    async def draw(self, request: EngineRequest) -> list[Draw]:
        """The rollouts that are in within the request's seconds; none of a request that the engine
        no longer takes, as one longer than its context since it was started anew. Raises
        EngineError."""
        count = int(request.options["n"])
        return await self.share.work(count, lambda beside: self._in_time(request, beside))

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        """As Engine.score, in the place of one rollout."""
        async with self.share.take(1):
            scores = await self.engine.score(model, tokens)
        self.on_scored(len(tokens))
        return scores

    async def _in_time(self, request: EngineRequest, beside_clients: bool) -> list[Draw]:
        draws: list[Draw] = []
        order = Priority.CLIENT if beside_clients else Priority.GATE
        try:
            async with self.engine.draw(replace(request, priority=order)) as batches:
                async for batch in batches:
                    draws += batch
                    tokens = sum(draw.tokens for draw in batch)
                    self.tokens += tokens
                    self.on_tokens(tokens)
        except EngineTimeout:
            pass
        except EngineRefused as error:
            if error.status not in _NEVER:
                raise
            log.warning("the engine refuses a query of the gate: status %d", error.status)
        return draws
