"""What base replies to the guard suite: asked once, a part at a time, and kept."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from adapter.tasks import together
from rewards.answers.kinds import AnswerKinds
from server.engine.base import BASE_MODEL, Draw, EngineRefused, EngineRequest
from server.promotion.gate_draws import GateDraws
from server.promotion.guards.suite import PROSE, GuardItem

_PORTION = 16
_DOUBTFUL, _HOPELESS = 48, 3
"""Once it has been asked so many tasks, a base that does fewer is asked no more."""


@dataclass(frozen=True, slots=True)
class BaseReply:
    """An item, and base's reply to it."""

    item: GuardItem
    draw: Draw

    @property
    def tokens(self) -> Sequence[int]:
        """Prompt and reply."""
        return [*self.draw.prompt_ids, *self.draw.rollout.token_ids]

    def of_reply(self, scores: Sequence[float]) -> Sequence[float]:
        """Of the scores of `tokens`, from the second on, those of the reply."""
        return scores[len(self.draw.prompt_ids) - 1 :]


class BaseReplies:
    """One per server process. Tasks are done greedily, prose is sampled; a reply has at most
    `tokens` tokens, and is none if it is not in within `seconds`."""

    def __init__(
        self,
        *,
        draws: GateDraws,
        kinds: AnswerKinds,
        suite: Sequence[GuardItem],
        tokens: int,
        seconds: float,
    ) -> None:
        self._draws, self._kinds = draws, kinds
        self._most_tokens, self._seconds = tokens, seconds
        self._unasked = _mixed([item for item in suite if item.area != PROSE])
        self._prose = [item for item in suite if item.area == PROSE]
        self._done: list[BaseReply] = []
        self._written: list[BaseReply] | None = None
        self._scores: dict[str, Sequence[float]] = {}
        self.asked = 0
        """Tasks that base has been asked to do."""

    async def done(self, count: int) -> list[BaseReply]:
        """At most `count` tasks that base does, those first that were given least lately. Base is
        asked a portion of what is left, or as many more as it takes, up to twice `count`. Raises
        EngineError."""
        most = self.asked + 2 * count
        while self._unasked and self.asked < most:
            if self.asked >= _DOUBTFUL and len(self._done) < _HOPELESS:
                self._unasked = []
                break
            portion, self._unasked = self._unasked[:_PORTION], self._unasked[_PORTION:]
            replies = await self._asked_together(portion)
            self.asked += len(portion)
            self._done = [*replies, *self._done]
            if len(self._done) >= count:
                break
        chosen, later = self._done[:count], self._done[count:]
        self._done = [*later, *chosen]
        return chosen

    async def prose(self) -> list[BaseReply]:
        """Base's prose. Raises EngineError."""
        if self._written is None:
            found = await together(self.reply(BASE_MODEL, item) for item in self._prose)
            pairs = zip(self._prose, found, strict=True)
            self._written = [BaseReply(item, draw) for item, draw in pairs if draw is not None]
        return self._written

    async def scores(self, reply: BaseReply) -> Sequence[float]:
        """The log-probabilities of a reply's tokens under base. Raises EngineError."""
        if reply.item.id not in self._scores:
            self._scores[reply.item.id] = await self.scores_under(BASE_MODEL, reply)
        return self._scores[reply.item.id]

    async def scores_under(self, engine_name: str, reply: BaseReply) -> Sequence[float]:
        """The same under another policy. Raises EngineError."""
        return reply.of_reply(await self._draws.score(engine_name, reply.tokens))

    async def does(self, engine_name: str, item: GuardItem) -> bool:
        """Whether a policy does a task. Raises EngineError."""
        draw = await self.reply(engine_name, item)
        return draw is not None and await self._right(item, draw)

    async def reply(self, engine_name: str, item: GuardItem) -> Draw | None:
        """A policy's reply; None if the engine refuses the prompt, as one without a chat template
        or with too short a context does, or if it is late. Raises EngineError."""
        temperature = 1.0 if item.area == PROSE else 0.0
        drawn = {"n": 1, "temperature": temperature, "max_tokens": self._most_tokens, "seed": 0}
        options = {**drawn, "logprobs": False}
        request = EngineRequest(engine_name, item.messages, options, seconds=self._seconds)
        try:
            draws = await self._draws.draw(request)
        except EngineRefused:
            return None
        return draws[0] if draws else None

    async def _asked_together(self, items: Sequence[GuardItem]) -> list[BaseReply]:
        """Base's replies to those of these tasks that it does."""
        found = await together(self.reply(BASE_MODEL, item) for item in items)
        return [
            BaseReply(item, draw)
            for item, draw in zip(items, found, strict=True)
            if draw is not None and await self._right(item, draw)
        ]

    async def _right(self, item: GuardItem, draw: Draw) -> bool:
        return await asyncio.to_thread(item.right, self._kinds, draw.rollout)


def _mixed(items: Sequence[GuardItem]) -> list[GuardItem]:
    """In a random order, of each area one in turn."""
    areas: dict[str, list[GuardItem]] = {}
    for item in random.sample(list(items), len(items)):
        areas.setdefault(item.area, []).append(item)
    return [item for row in zip_longest(*areas.values()) for item in row if item is not None]
