"""The trial of a version: its answers are compared with those of its parent, of base and of the
best version until it decides.

It passes only if it is proven, query by query, not to be worse than any of them by more than a
margin, no slice of the traffic is, and nothing raises an alarm (server/promotion/decision/).
Running out of queries is "undecided", which is not a pass.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from itertools import permutations

from adapter.store.judgement import Step, StepVerdict, turned_away
from adapter.store.releases import BASE, AdapterRelease
from adapter.tasks import together
from rewards.answers.judging.time_budget import TimeBudget, within
from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.policy.leases import Policy
from server.policy.limits import Alarm, GateLimits, change_alarm, learning_alarm
from server.policy.stats import PolicyStats, VoteRecord
from server.promotion.decision.asked import CANDIDATE, Asked
from server.promotion.decision.comparison import UNHEARD, nearer
from server.promotion.decision.decision import Decision, DecisionRules, Finding
from server.promotion.decision.schedule import Window, windows
from server.promotion.decision.standing import Standing
from server.promotion.probe_set import Probe, ProbeSet, Reply
from server.promotion.traffic import query_id, slices_of

_AHEAD = 4
"""Times as many queries as between two looks are under way at once."""
_ALARMING = 16
"""Queries before the alarms are read: the means of fewer say little."""


@dataclass(frozen=True, slots=True)
class TrialRules:
    """The rules of the decision, and the alarms' bounds."""

    decision: DecisionRules
    limits: GateLimits


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Probes, and the replies to each by engine name."""

    probes: Sequence[Probe]
    replies: Mapping[str, Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Trial:
    """Compares a candidate with the live version, base and the best version so far."""

    probes: ProbeSet
    kinds: AnswerKinds
    policy: Policy
    rules: TrialRules
    standing: Standing = field(default_factory=Standing)
    """Live with best, by all trials since that was the best."""

    @property
    def ready(self) -> bool:
        """Whether enough queries are known to judge by."""
        return self.probes.ready

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        policy, kl = self.policy, release.metrics.get("kl", math.nan)
        references = {"parent": policy.live, "base": BASE, "best": policy.best}
        with ExitStack() as held:
            for version in references.values():
                held.enter_context(policy.hold(version))
            names = {role: policy.engine_name(v) for role, v in references.items()}
            self.standing.begin(names["parent"], names["best"])
            return await self.compare(release.folder, names, kl)

    async def compare(
        self, candidate: str, references: Mapping[str, str], kl: float | None
    ) -> StepVerdict:
        """Compare a policy with others, by role and engine name; alarms are against the first.
        `kl` is the candidate's distance from base in nats per token; None if this is not about
        learning, but about which version to serve. Raises EngineError, BufferUnavailable.
        """
        base = self.policy.engine_name(BASE)
        roles: dict[str, str] = {}
        for role, name in references.items():
            roles.setdefault(name, role)  # a policy has one comparison, under its first role
        others = {role: name for name, role in roles.items()}
        everyone = {candidate, base, *others.values()}
        first = next(iter(others))
        best = roles[references.get("best", others[first])]
        standing = self.standing if kl is not None and best != first else None
        await self.probes.hear()
        self.probes.begin(everyone, candidate)
        spent = self.probes.tokens
        decision = Decision(list(others), self.rules.decision, self.probes.labels)
        records = {name: list[VoteRecord]() for name in everyone}
        numbers: dict[str, float] = {}
        async with aclosing(self._drawings(everyone)) as drawings:
            async for drawn in drawings:
                # Mathematics may take a while.
                asked = await asyncio.to_thread(self._asked, drawn, candidate, others, records)
                for probe, row in zip(drawn.probes, asked, strict=True):
                    decision.add(row)
                    pair = others[first], others[best]
                    if standing is not None and all(
                        self.probes.unselected(name, probe) for name in pair
                    ):
                        standing.add(probe.seed, row.between(first, best))
                if not records[candidate]:
                    continue  # whose queries these were has been forgotten
                stats = {name: PolicyStats.of(rows) for name, rows in records.items()}
                shown = {"candidate": candidate, "base": base, **others}
                numbers = decision.numbers() | _numbers({r: stats[n] for r, n in shown.items()})
                numbers["tokens"] = float(self.probes.tokens - spent)
                alarm = None
                if len(records[candidate]) >= min(_ALARMING, self.rules.decision.queries):
                    alarm = self._alarm(stats[candidate], stats[others[first]], stats[base], kl)
                if alarm is not None:
                    return turned_away(Step.TRIAL, alarm.cause, alarm.reason, numbers)
                if finding := decision.look():
                    return _verdict(finding, decision, best, numbers)
        self.probes.refresh()  # on the same queries the next candidate would hardly fare better
        return _verdict(decision.last(), decision, best, numbers)

    async def _drawings(self, policies: Collection[str]) -> AsyncGenerator[_Drawing]:
        """The replies of all policies to the queries, some at a time. While they are looked at, and
        while the last of them are written, the next are begun: the engine is never half empty."""
        planned = deque(windows(self.rules.decision.queries, self.probes.labels))
        drawing: deque[asyncio.Task[_Drawing]] = deque()
        try:
            while planned or drawing:
                while planned and len(drawing) < _AHEAD:
                    work = self._drawn(policies, planned.popleft())
                    drawing.append(asyncio.create_task(work))
                yield await drawing[0]
                drawing.popleft()
        finally:
            for task in drawing:
                task.cancel()
            await asyncio.gather(*drawing, return_exceptions=True)

    async def _drawn(self, policies: Collection[str], window: Window) -> _Drawing:
        """The replies of all policies to the queries of a window."""
        probes = self.probes.probes(window.queries.start, window.queries.stop)
        probes += self.probes.labelled_probes(window.labels.start, window.labels.stop)
        found = await together(self.probes.replies(name, probes) for name in policies)
        return _Drawing(probes, dict(zip(policies, found, strict=True)))

    def _asked(
        self,
        drawn: _Drawing,
        candidate: str,
        others: Mapping[str, str],
        records: Mapping[str, list[VoteRecord]],
    ) -> list[Asked]:
        """The replies to each query; adds them to the records of the policies, which have no
        labelled queries: those are no traffic."""
        asked: list[Asked] = []
        for at, probe in enumerate(drawn.probes):
            kind, label = self.kinds.of(probe.query.answer), probe.query.label
            replies = {name: found[at] for name, found in drawn.replies.items()}
            if label is None:
                for name, rows in records.items():
                    vote = take_vote(kind.tally(replies[name].answers))
                    rows.append(VoteRecord.of(vote, replies[name].tokens))
            asked.append(_asked(kind, probe, candidate, others, replies))
        return asked

    def _alarm(
        self, candidate: PolicyStats, parent: PolicyStats, base: PolicyStats, kl: float | None
    ) -> Alarm | None:
        limits = self.rules.limits
        if kl is not None and (alarm := learning_alarm(base, kl, limits)):
            return alarm
        return change_alarm(candidate, parent, limits, base)


def _asked(
    kind: AnswerKind,
    probe: Probe,
    candidate: str,
    others: Mapping[str, str],
    replies: Mapping[str, Reply],
) -> Asked:
    """The replies to one probe with their answers clustered together."""
    answers = {CANDIDATE: replies[candidate].answers}
    answers |= {role: replies[name].answers for role, name in others.items()}
    with within(TimeBudget()):
        tally = kind.tally([answer for rows in answers.values() for answer in rows])
    size = len(answers[CANDIDATE])
    clusters = [tally.clusters[start : start + size] for start in range(0, len(tally), size)]
    label, near = None, dict[tuple[str, str], float]()
    if probe.query.label is not None:
        with within(TimeBudget()):
            cluster = cluster_of(kind, tally, probe.query.label)
        label = UNHEARD if cluster is None else cluster
    elif kind.name == "text":
        near = {
            (first, second): nearer(kind, answers[first], answers[second])
            for first, second in permutations(answers, 2)
        }
    return Asked(
        query_id(probe.query),
        slices_of(probe.query),
        clusters[0],
        dict(zip(others, clusters[1:], strict=True)),
        label,
        near,
    )


def _verdict(
    finding: Finding, decision: Decision, best: str, numbers: dict[str, float]
) -> StepVerdict:
    """The step's verdict; `best` is the role of the best version so far. A candidate that passes
    and is proven `better` than that is the best version from now on."""
    if finding.cause is not None:
        return turned_away(
            Step.TRIAL,
            finding.cause,
            finding.reason,
            numbers,
            reference=finding.reference,
            slice=finding.slice,
            lost=finding.lost,
        )
    numbers["better"] = float(decision.better_than(best))
    return StepVerdict(
        Step.TRIAL,
        passed=True,
        reason=finding.reason,
        numbers=numbers,
        reference=finding.reference,
    )


def _numbers(stats: Mapping[str, PolicyStats]) -> dict[str, float]:
    """The numbers of policies, by role and name."""
    return {
        f"{role}/{name}": n for role, stat in stats.items() for name, n in stat.numbers().items()
    }
