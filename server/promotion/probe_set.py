"""The queries on which policies are compared, and what each policy answered to them.

Each probe has a seed of its own, the same for every policy: the engine then draws with the same
noise, so that two policies differ only where they are different (common random numbers).
"""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rewards.answers.kind import answers_of
from rewards.answers.kinds import AnswerKinds
from server.engine.base import Engine, EngineRequest, Priority, draw_all
from server.recording.reservoir import Query, Reservoir


@dataclass(frozen=True, slots=True)
class Probe:
    """A query of the gate and the seed of its rollouts."""

    query: Query
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a policy's rollouts answered, and their tokens together."""

    answers: Sequence[str | None]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRules:
    """Recent queries needed to begin, `rollouts` of each and their temperature, and how many trials
    are held on one drawing."""

    minimum: int
    rollouts: int
    refresh: int
    temperature: float


class ProbeSet:
    """Labelled queries, if the operator gave any, and recent ones from the reservoir.

    One drawing serves several trials, so that base and live are sampled once for each; then
    another is made, so that no lineage can settle in on it. A query may come up more than once in a
    drawing, with another seed each time.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        reservoir: Reservoir,
        kinds: AnswerKinds,
        rules: ProbeRules,
        labelled: Sequence[Query] = (),
    ) -> None:
        self._engine, self._reservoir, self._labelled = engine, reservoir, labelled
        self._kinds, self._rules = kinds, rules
        self._recent: list[Query] = []
        self._drawn: dict[bool, list[Probe]] = {True: [], False: []}
        self._replies: dict[tuple[str, int], Reply] = {}
        self._trials = 0
        self._forgotten = 0

    @property
    def labelled(self) -> bool:
        """Whether there are labelled queries."""
        return bool(self._labelled)

    @property
    def ready(self) -> bool:
        """Whether enough distinct queries have been seen to decide anything."""
        kept = bool(self._recent) and self._forgotten == self._reservoir.forgotten
        return kept or len(self._reservoir) >= self._rules.minimum

    def begin(self, policies: Collection[str]) -> None:
        """A new trial, of these engine names, is to be held. Needs `ready`."""
        grown = len(self._reservoir) >= 2 * len(self._recent)
        outdated = (
            self._trials >= self._rules.refresh or self._forgotten != self._reservoir.forgotten
        )
        if not self._recent or grown or outdated:
            self.refresh()
        self._trials += 1
        self._replies = {k: reply for k, reply in self._replies.items() if k[0] in policies}

    def refresh(self) -> None:
        """Draw anew: every query in the reservoir, in random order."""
        self._recent = self._reservoir.draw(len(self._reservoir))
        self._drawn = {True: [], False: []}
        self._replies, self._trials = {}, 0
        self._forgotten = self._reservoir.forgotten

    def probes(self, start: int, stop: int, *, labelled: bool = False) -> list[Probe]:
        """The probes [start, stop) of the drawing."""
        drawn, queries = self._drawn[labelled], self._labelled if labelled else self._recent
        while len(drawn) < stop:
            query = queries[len(drawn) % len(queries)]
            drawn.append(Probe(query, random.getrandbits(31)))
        return drawn[start:stop]

    async def replies(self, engine_name: str, probes: Sequence[Probe]) -> list[Reply]:
        """What the policy of that engine name answers. Raises EngineError."""
        return await asyncio.gather(*(self._reply(engine_name, probe) for probe in probes))

    async def _reply(self, engine_name: str, probe: Probe) -> Reply:
        key = engine_name, probe.seed
        if key not in self._replies:
            options = {
                **probe.query.options,
                "n": self._rules.rollouts,
                "temperature": self._rules.temperature,
                "seed": probe.seed,
                "logprobs": False,
            }
            prompt = probe.query.prompt
            request = EngineRequest(engine_name, prompt, options, Priority.GATE)
            draws = await draw_all(self._engine, request)
            kind = self._kinds[probe.query.answer_kind]
            answers = await asyncio.to_thread(answers_of, kind, [draw.rollout for draw in draws])
            self._replies[key] = Reply(answers, sum(draw.tokens for draw in draws))
        return self._replies[key]
