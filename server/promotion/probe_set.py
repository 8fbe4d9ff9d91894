"""The queries on which policies are compared, and the answers of each policy.

Each probe has a seed of its own, the same for every policy: the engine then draws with the same
noise, so that replies differ only where the policies do (common random numbers).
"""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adapter.tasks import together
from rewards.answers.kind import answers_of
from rewards.answers.kinds import AnswerKinds
from server.engine.base import EngineRequest
from server.promotion.gate_draws import GateDraws
from server.promotion.labels.told_labels import agreed, chosen
from server.promotion.traffic import balanced, evenly, query_id
from server.recording.feedback import FeedbackStore
from server.recording.reservoir import Query, Reservoir, is_of


@dataclass(frozen=True, slots=True)
class Probe:
    """A query of the gate and the seed of its rollouts."""

    query: Query
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers of a policy's rollouts to one probe, None where there is none or it was not in in
    time; and the tokens of those that were."""

    answers: Sequence[str | None]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRules:
    """Recent queries needed to begin, `rollouts` of each and their temperature, the number of
    trials held on one drawing, the seconds that the engine gets for a query, and of a drawing the
    most `queries`, `labels` in all, and `told` ones of them, from feedback."""

    minimum: int
    rollouts: int
    refresh: int
    temperature: float
    seconds: float
    queries: int = 192
    labels: int = 400
    told: int = 0


class ProbeSet:
    """Labelled queries, if the operator or feedback gave any, in a new order for each drawing, and
    recent ones from the reservoir.

    One drawing serves several trials, so that base and live are sampled once for all of them; then
    the queries are drawn anew, so that no lineage can adapt to them. A query may come up more than
    once in a drawing, with another seed each time.
    """

    def __init__(
        self,
        *,
        draws: GateDraws,
        reservoir: Reservoir,
        kinds: AnswerKinds,
        rules: ProbeRules,
        labelled: Sequence[Query] = (),
        feedback: FeedbackStore | None = None,
    ) -> None:
        self._draws, self._reservoir = draws, reservoir
        self._labelled = list({query_id(query): query for query in labelled}.values())
        self._kinds, self._rules = kinds, rules
        self._feedback, self._told = feedback, list[Query]()
        self._recent: list[Query] = []
        self._drawn: list[Probe] = []
        self._drawn_labelled: list[Probe] = []
        self._replies: dict[tuple[str, int], Reply] = {}
        self._candidate, self._on_trial = "", set[tuple[str, int]]()
        self._trials, self._known = 0, 0
        self._forgotten = 0

    @property
    def tokens(self) -> int:
        """Drawn for the gate since the start."""
        return self._draws.tokens

    @property
    def labels(self) -> int:
        """Labelled queries of this drawing."""
        return len(self._drawn_labelled)

    @property
    def ready(self) -> bool:
        """Whether there are enough distinct queries to judge by."""
        return self._current or len(self._reservoir) >= self._rules.minimum

    @property
    def _current(self) -> bool:
        """Whether there is a drawing without queries of clients that have opted out since."""
        return bool(self._recent) and self._forgotten == self._reservoir.forgotten

    async def hear(self) -> None:
        """Learn which labels feedback has given, for the next drawing. Raises BufferUnavailable."""
        if self._feedback is not None and self._rules.told:
            told = await self._feedback.labelled()
            self._told = await asyncio.to_thread(agreed, told, self._kinds)

    def begin(self, policies: Collection[str], candidate: str = "") -> None:
        """Begin a trial of the policies with these engine names, one of them the `candidate`. Needs
        `ready`."""
        grown = len(self._reservoir) >= 2 * self._known
        if not self._current or grown or self._trials >= self._rules.refresh:
            self.refresh()
        self._trials += 1
        self._candidate = candidate
        self._replies = {key: r for key, r in self._replies.items() if key[0] in policies}

    def refresh(self) -> None:
        """Draw anew: of the reservoir as many as a trial may ask, all keys in turn and none with
        more than half; then in an order of which every beginning stands for the whole."""
        self._known, least = len(self._reservoir), self._rules.minimum
        drawn = self._reservoir.draw(max(self._rules.queries, least))
        self._recent = evenly(balanced(drawn, least))
        labelled = random.sample(self._labelled, min(len(self._labelled), self._rules.labels))
        known = {query_id(query) for query in self._labelled}
        told = [query for query in self._told if query_id(query) not in known]
        labelled += chosen(told, min(self._rules.told, self._rules.labels - len(labelled)))
        random.shuffle(labelled)
        self._drawn, self._drawn_labelled = [], [_probe(query) for query in labelled]
        self._replies, self._trials = {}, 0
        self._on_trial.clear()
        self._forgotten = self._reservoir.forgotten

    def forget(self, clients: Collection[str]) -> None:
        """Remove the queries of these clients or holders, and what was replied to them, at once. A
        trial under way is given others in their place, if there are any."""
        self._recent = [query for query in self._recent if not is_of(query, clients)]
        self._told = [query for query in self._told if not is_of(query, clients)]
        drawn = [*self._drawn, *self._drawn_labelled]
        gone = {probe.seed for probe in drawn if is_of(probe.query, clients)}
        self._replies = {key: r for key, r in self._replies.items() if key[1] not in gone}
        self._drawn_labelled = [p for p in self._drawn_labelled if p.seed not in gone]
        kept = [probe for probe in self._drawn if probe.seed not in gone]
        self._drawn = kept if self._recent else []

    def probes(self, start: int, stop: int) -> list[Probe]:
        """The probes [start, stop) of the drawing; fewer if no queries are left."""
        while self._recent and len(self._drawn) < stop:
            self._drawn.append(_probe(self._recent[len(self._drawn) % len(self._recent)]))
        return self._drawn[start:stop]

    def labelled_probes(self, start: int, stop: int) -> list[Probe]:
        """Those of the probes [start, stop) with a label that there are."""
        return self._drawn_labelled[start:stop]

    def unselected(self, engine_name: str, probe: Probe) -> bool:
        """Whether a policy's reply is fresh: not one that it was itself tried, and let pass, by."""
        return (engine_name, probe.seed) not in self._on_trial

    async def replies(self, engine_name: str, probes: Sequence[Probe]) -> list[Reply]:
        """The replies of the policy with that engine name. Raises EngineError."""
        return await together(self._reply(engine_name, probe) for probe in probes)

    async def _reply(self, engine_name: str, probe: Probe) -> Reply:
        key = engine_name, probe.seed
        if key not in self._replies:
            rules = self._rules
            drawn = {"n": rules.rollouts, "temperature": rules.temperature, "seed": probe.seed}
            options = {**probe.query.options, **drawn, "logprobs": False}
            request = EngineRequest(engine_name, probe.query.prompt, options, seconds=rules.seconds)
            draws = await self._draws.draw(request)
            kind = self._kinds.of(probe.query.answer)
            read = await asyncio.to_thread(answers_of, kind, [draw.rollout for draw in draws])
            answers: list[str | None] = [None] * rules.rollouts
            for draw, answer in zip(draws, read, strict=True):
                answers[draw.index] = answer
            if engine_name == self._candidate:
                self._on_trial.add(key)
            self._replies[key] = Reply(answers, sum(draw.tokens for draw in draws))
        return self._replies[key]


def _probe(query: Query) -> Probe:
    return Probe(query, random.getrandbits(31))
