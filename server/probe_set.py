"""The queries on which candidate, live version and base are compared, with what each answered."""

import asyncio

from rewards.equality import Equality
from server.engine import Engine, Sample
from server.gate import PolicyStats
from server.reservoir import Query, Reservoir
from server.voting import ballot_of


class ProbeSet:
    """Draws queries from the reservoir and samples policies on them.

    The same queries serve `refresh` candidates, so that base and live are sampled once for each;
    then new ones are drawn, so that no candidate can settle in on them.
    """

    def __init__(
        self,
        engine: Engine,
        reservoir: Reservoir,
        equality: Equality,
        prompts: int,
        rollouts: int,
        refresh: int,
        temperature: float,
    ) -> None:
        self._engine, self._reservoir, self._equality = engine, reservoir, equality
        self._prompts, self._rollouts, self._refresh = prompts, rollouts, refresh
        self._temperature = temperature
        self._queries: list[Query] = []
        self._stats: dict[str, PolicyStats] = {}
        self._used = 0
        self._forgotten = 0

    @property
    def ready(self) -> bool:
        """Whether enough distinct queries have been seen to decide anything."""
        kept = bool(self._queries) and self._forgotten == self._reservoir.forgotten
        return kept or len(self._reservoir) >= self._prompts

    def begin(self) -> None:
        """A new candidate is to be judged. Needs `ready`."""
        outdated = self._used >= self._refresh or self._forgotten != self._reservoir.forgotten
        if not self._queries or outdated:
            self._queries = self._reservoir.draw(self._prompts)
            self._stats, self._used = {}, 0
            self._forgotten = self._reservoir.forgotten
        self._used += 1

    async def stats(self, engine_name: str) -> PolicyStats:
        """How the policy of that engine name answers the queries. Raises EngineError."""
        if engine_name not in self._stats:
            drawn = [self._sample(engine_name, query) for query in self._queries]
            samples = await asyncio.gather(*drawn)
            ballots = [await ballot_of(self._equality, sample.rollouts) for sample in samples]
            self._stats[engine_name] = PolicyStats.of(samples, ballots)
        return self._stats[engine_name]

    async def _sample(self, engine_name: str, query: Query) -> Sample:
        options = {**query.options, "n": self._rollouts, "temperature": self._temperature}
        return await self._engine.sample(engine_name, query.messages, options)
