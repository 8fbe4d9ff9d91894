"""The trial of a version: its answers are compared with its parent's and base's until it decides.

It passes only if it is proven, query by query, not to be worse than either by more than a margin,
and nothing raises an alarm. Running out of queries is "undecided", which is not a pass.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import BASE, AdapterRelease
from adapter.tasks import together
from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.policy.leases import Policy
from server.policy.limits import Alarm, GateLimits, change_alarm, learning_alarm
from server.policy.stats import PolicyStats, VoteRecord
from server.promotion.comparison import difference
from server.promotion.probe_set import Probe, ProbeSet, Reply
from server.promotion.sequential_test import Decision, SequentialTest

_BATCH = 16
"""Queries between two readings of the tests."""
_AHEAD = 2
"""Times as many are under way at once."""

_NAMES = {"parent": "its parent", "base": "base", "labels": "its parent by the labels"}


@dataclass(frozen=True, slots=True)
class TrialRules:
    """`margin` of the comparison, most `queries` to spend on one, and the alarms' bounds."""

    margin: float
    queries: int
    limits: GateLimits


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Replies by engine name to some probes, and to some labelled ones."""

    probes: Sequence[Probe]
    replies: Mapping[str, Sequence[Reply]]
    labelled: Sequence[Probe]
    known: Mapping[str, Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Trial:
    """Compares a candidate with the live version and with base."""

    probes: ProbeSet
    kinds: AnswerKinds
    policy: Policy
    rules: TrialRules

    @property
    def ready(self) -> bool:
        """Whether enough queries are known to judge by."""
        return self.probes.ready

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        live, kl = self.policy.live, release.metrics.get("kl", math.nan)
        with self.policy.hold(live):
            return await self.compare(release.folder, self.policy.engine_name(live), kl)

    async def compare(self, candidate: str, parent: str, kl: float | None) -> StepVerdict:
        """Compare policies by their engine names, with base too. `kl` is the candidate's distance
        from base in nats per token; None if this is not about learning, but about which of two
        versions to serve. Raises EngineError.
        """
        base, probes = self.policy.engine_name(BASE), self.probes
        policies = {"candidate": candidate, "parent": parent, "base": base}
        probes.begin(set(policies.values()))
        wanted = {"parent": True, "base": parent != base, "labels": probes.labelled}
        tests = {name: SequentialTest(self.rules.margin) for name in wanted if wanted[name]}
        records: dict[str, list[VoteRecord]] = {name: [] for name in policies}
        numbers: dict[str, float] = {}
        async with aclosing(self._drawings(policies, labels="labels" in tests)) as drawings:
            async for drawn in drawings:
                # Mathematics may take a while.
                await asyncio.to_thread(self._add, drawn, policies, tests, records)
                stats = {name: PolicyStats.of(rows) for name, rows in records.items()}
                numbers = _numbers(tests, stats)
                if alarm := self._alarm(stats, kl):
                    return turned_away(Step.TRIAL, alarm.cause, alarm.reason, numbers)
                if worse := _first(tests, Decision.WORSE):
                    return turned_away(Step.TRIAL, Cause.WORSE, worse, numbers)
                if all(test.decision is Decision.NOT_WORSE for test in tests.values()):
                    proven = _first(tests, Decision.NOT_WORSE)
                    return StepVerdict(Step.TRIAL, passed=True, reason=proven, numbers=numbers)
        probes.refresh()  # on the same queries the next candidate would hardly fare better
        undecided = _first(tests, Decision.UNDECIDED)
        return turned_away(Step.TRIAL, Cause.UNDECIDED, undecided, numbers)

    async def _drawings(
        self, policies: Mapping[str, str], *, labels: bool
    ) -> AsyncGenerator[_Drawing]:
        """The replies of all policies to the queries, some at a time. While they are looked at, and
        while the last of them are written, the next are begun: the engine is never half empty."""
        windows = [
            range(start, min(start + _BATCH, self.rules.queries))
            for start in range(0, self.rules.queries, _BATCH)
        ]
        drawing: deque[asyncio.Task[_Drawing]] = deque()
        try:
            while windows or drawing:
                while windows and len(drawing) < _AHEAD:
                    work = self._drawn(policies, windows.pop(0), labels)
                    drawing.append(asyncio.create_task(work))
                yield await drawing[0]
                drawing.popleft()
        finally:
            for task in drawing:
                task.cancel()
            await asyncio.gather(*drawing, return_exceptions=True)

    async def _drawn(self, policies: Mapping[str, str], window: range, labels: bool) -> _Drawing:
        """The replies of all policies to the queries of a window."""
        probes = self.probes.probes(window.start, window.stop)
        replies = await self._replies(probes, set(policies.values()))
        labelled, known = list[Probe](), dict[str, list[Reply]]()
        if labels:
            labelled = self.probes.probes(window.start, window.stop, labelled=True)
            known = await self._replies(labelled, {policies["candidate"], policies["parent"]})
        return _Drawing(probes, replies, labelled, known)

    def _add(
        self,
        drawn: _Drawing,
        policies: Mapping[str, str],
        tests: Mapping[str, SequentialTest],
        records: Mapping[str, list[VoteRecord]],
    ) -> None:
        """Add replies to tests and records."""
        for name, rows in records.items():
            rows.extend(map(self._record, drawn.probes, drawn.replies[policies[name]]))
        for name, test in tests.items():
            asked, found = drawn.probes, drawn.replies
            if name == "labels":
                asked, found = drawn.labelled, drawn.known
            ours = found[policies["candidate"]]
            theirs = found[policies["parent" if name == "labels" else name]]
            for probe, own, other in zip(asked, ours, theirs, strict=True):
                kind, label = self.kinds.of(probe.query.answer), probe.query.label
                test.add(difference(kind, own.answers, other.answers, label))

    async def _replies(
        self, probes: Sequence[Probe], policies: Collection[str]
    ) -> dict[str, list[Reply]]:
        found = await together(self.probes.replies(name, probes) for name in policies)
        return dict(zip(policies, found, strict=True))

    def _alarm(self, stats: Mapping[str, PolicyStats], kl: float | None) -> Alarm | None:
        limits, base = self.rules.limits, stats["base"]
        if kl is not None and (alarm := learning_alarm(base, kl, limits)):
            return alarm
        return change_alarm(stats["candidate"], stats["parent"], limits, base)

    def _record(self, probe: Probe, reply: Reply) -> VoteRecord:
        kind = self.kinds.of(probe.query.answer)
        return VoteRecord.of(take_vote(kind.tally(reply.answers)), reply.tokens)


def _first(tests: Mapping[str, SequentialTest], decision: Decision) -> str:
    """The first test with that decision in words; empty if there is none."""
    than = "against" if decision is Decision.UNDECIDED else "than"
    for name, test in tests.items():
        if test.decision is decision:
            found = f"{test.mean:+.3f} over {test.count} queries"
            return f"{decision} {than} {_NAMES[name]}: {found}"
    return ""


def _numbers(
    tests: Mapping[str, SequentialTest], stats: Mapping[str, PolicyStats]
) -> dict[str, float]:
    """The numbers of all tests and policies, by name."""
    parts = {f"against_{name}": test.numbers() for name, test in tests.items()}
    parts |= {name: stat.numbers() for name, stat in stats.items()}
    return {f"{part}/{name}": n for part, numbers in parts.items() for name, n in numbers.items()}
