"""A version's trial: sampled side by side with its parent and with base until it is decided.

It passes only when it is proven, query by query, not to be worse than either by more than a margin,
and no alarm has gone off. Running out of queries is "undecided", and that is not a pass.
"""

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import BASE, AdapterRelease
from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.policy.leases import Policy
from server.policy.limits import Alarm, GateLimits, change_alarm, learning_alarm
from server.policy.stats import PolicyStats, VoteRecord
from server.promotion.comparison import difference
from server.promotion.probe_set import Probe, ProbeSet, Reply
from server.promotion.sequential_test import Decision, SequentialTest

_LOOK = 16
"""Queries between two looks at the evidence."""

_NAMES = {"parent": "its parent", "base": "base", "labels": "its parent by the labels"}


@dataclass(frozen=True, slots=True)
class TrialRules:
    """`margin` of the comparison, most `queries` to spend on one, and the alarms' bounds."""

    margin: float
    queries: int
    limits: GateLimits


class Trial:
    """Compares a candidate with the live version and with base."""

    def __init__(
        self, probes: ProbeSet, kinds: AnswerKinds, policy: Policy, rules: TrialRules
    ) -> None:
        self._probes, self._kinds, self._policy, self._rules = probes, kinds, policy, rules
        self._base = policy.engine_name(BASE)

    @property
    def ready(self) -> bool:
        """Whether enough queries are known to judge anything."""
        return self._probes.ready

    def refresh(self) -> None:
        """Hold the next trial on a fresh drawing of queries."""
        self._probes.refresh()

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        live, kl = self._policy.live, release.metrics.get("kl", math.nan)
        with self._policy.hold(live):
            return await self.compare(release.folder, self._policy.engine_name(live), kl)

    async def compare(self, candidate: str, parent: str, kl: float | None) -> StepVerdict:
        """Compare policies by their engine names, with base too. `kl` is the candidate's distance
        from base; None if this is not about learning, but about which of two versions to serve.
        Raises EngineError.
        """
        self._probes.begin({candidate, parent, self._base})
        tests = {"parent": SequentialTest(self._rules.margin)}
        if parent != self._base:
            tests["base"] = SequentialTest(self._rules.margin)
        if self._probes.labelled:
            tests["labels"] = SequentialTest(self._rules.margin)
        records: dict[str, list[VoteRecord]] = {"candidate": [], "parent": [], "base": []}
        numbers: dict[str, float] = {}
        for start in range(0, self._rules.queries, _LOOK):
            stop = min(start + _LOOK, self._rules.queries)
            await self._look(candidate, parent, range(start, stop), tests, records)
            stats = {who: PolicyStats.of(rows) for who, rows in records.items()}
            numbers = _numbers(tests, stats)
            if alarm := self._alarm(stats, kl):
                return turned_away(Step.TRIAL, alarm.cause, alarm.reason, numbers)
            if worse := _first(tests, Decision.WORSE):
                return turned_away(Step.TRIAL, Cause.WORSE, worse, numbers)
            if all(test.decision is Decision.NOT_WORSE for test in tests.values()):
                proven = _first(tests, Decision.NOT_WORSE)
                return StepVerdict(Step.TRIAL, passed=True, reason=proven, numbers=numbers)
        self.refresh()  # on the same queries the next one would hardly fare better
        undecided = _first(tests, Decision.UNDECIDED)
        return turned_away(Step.TRIAL, Cause.UNDECIDED, undecided, numbers)

    async def _look(
        self,
        candidate: str,
        parent: str,
        window: range,
        tests: Mapping[str, SequentialTest],
        records: Mapping[str, list[VoteRecord]],
    ) -> None:
        """Sample the next queries and add what they show."""
        who = {"candidate": candidate, "parent": parent, "base": self._base}
        probes = self._probes.probes(window.start, window.stop)
        replies = await self._sample(probes, set(who.values()))
        labelled, known = list[Probe](), dict[str, list[Reply]]()
        if "labels" in tests:
            labelled = self._probes.probes(window.start, window.stop, labelled=True)
            known = await self._sample(labelled, {candidate, parent})

        def weigh() -> None:
            for name, kept in records.items():
                kept.extend(map(self._record, probes, replies[who[name]]))
            for name in tests.keys() & who.keys():
                rows = zip(probes, replies[candidate], replies[who[name]], strict=True)
                for probe, ours, theirs in rows:
                    kind = self._kinds[probe.query.answer_kind]
                    tests[name].add(difference(kind, ours.answers, theirs.answers))
            for probe, ours, theirs in zip(
                labelled, known.get(candidate, []), known.get(parent, []), strict=True
            ):
                kind, label = self._kinds[probe.query.answer_kind], probe.query.label
                tests["labels"].add(difference(kind, ours.answers, theirs.answers, label))

        await asyncio.to_thread(weigh)  # mathematics may take a while

    async def _sample(
        self, probes: Sequence[Probe], policies: Collection[str]
    ) -> dict[str, list[Reply]]:
        found = await asyncio.gather(*(self._probes.replies(name, probes) for name in policies))
        return dict(zip(policies, found, strict=True))

    def _alarm(self, stats: Mapping[str, PolicyStats], kl: float | None) -> Alarm | None:
        limits, base = self._rules.limits, stats["base"]
        if kl is not None and (alarm := learning_alarm(base, kl, limits)):
            return alarm
        return change_alarm(stats["candidate"], stats["parent"], limits, base)

    def _record(self, probe: Probe, reply: Reply) -> VoteRecord:
        kind = self._kinds[probe.query.answer_kind]
        return VoteRecord.of(take_vote(kind.tally(reply.answers)), reply.tokens)


def _first(tests: Mapping[str, SequentialTest], decision: Decision) -> str:
    """The first test with that decision in words; empty if there is none."""
    than = "against" if decision is Decision.UNDECIDED else "than"
    for name, test in tests.items():
        if test.decision is decision:
            seen = f"{test.mean:+.3f} over {test.count} queries"
            return f"{decision} {than} {_NAMES[name]}: {seen}"
    return ""


def _numbers(
    tests: Mapping[str, SequentialTest], stats: Mapping[str, PolicyStats]
) -> dict[str, float]:
    weighed = {
        f"against_{name}/{key}": value
        for name, test in tests.items()
        for key, value in test.numbers().items()
    }
    seen = {
        f"{who}/{key}": value
        for who, stat in stats.items()
        for key, value in stat.numbers().items()
    }
    return weighed | seen
