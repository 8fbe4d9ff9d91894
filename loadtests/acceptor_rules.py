"""Rules that accept candidates: the product's own decision code, and simpler ones beside it.

Each plays over one repetition of a stream: it samples rollouts of the policies it is offered, as
many as it likes, and never sees the truth.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loadtests.streams import Planted, Shares
from server.promotion.decision.asked import Asked
from server.promotion.decision.comparison import Clusters
from server.promotion.decision.decision import Decision, DecisionRules
from server.promotion.decision.schedule import windows
from server.promotion.decision.spread import spread
from server.promotion.decision.standing import Standing
from server.settings import ServerSettings

_FIELDS = ServerSettings.model_fields
RULES = DecisionRules(
    margin=_FIELDS["gate_margin"].default,
    queries=_FIELDS["gate_queries"].default,
    max_overturned=_FIELDS["gate_max_overturned"].default,
    max_novel=_FIELDS["gate_max_novel"].default,
)
"""The product's defaults."""
_REFRESH: int = _FIELDS["gate_refresh"].default
_PACE_ALPHA, _PACE_STAKES = 0.05, (0.1, 0.2, 0.3, 0.4, 0.5)
_PACE_MOST = 1_000


@dataclass(slots=True)
class Sampler:
    """Draws rollouts of policies, and counts them. `labels` are the queries whose answer is known
    to the acceptor; `lies` are wrong ones among these, by query."""

    planted: Planted
    labels: npt.NDArray[np.int64]
    noise: np.random.Generator
    lies: Mapping[int, int] = field(default_factory=dict[int, int])
    rollouts: int = 0

    def draw(self, policy: Shares, queries: npt.NDArray[np.int64]) -> list[list[int | None]]:
        """Answers [query, rollout] of a policy."""
        count, width = self.planted.stream.rollouts, policy.shape[1]
        below = policy[queries].cumsum(axis=1)[:, None, :]
        drawn = (self.noise.random((len(queries), count, 1)) >= below - 1e-12).sum(axis=2)
        self.rollouts += len(queries) * count
        return [[None if a == width else a for a in row] for row in drawn.tolist()]

    def asked(
        self,
        query: int,
        candidate: Clusters,
        references: Mapping[str, Clusters],
        *,
        labelled: bool = False,
    ) -> Asked:
        """A query as the decision sees it."""
        part = self.planted.stream.queries[query].slice
        label = self.lies.get(query, int(self.planted.right[query])) if labelled else None
        return Asked(str(query), [part] if part else [], candidate, references, label)


class Acceptor(Protocol):
    """One rule over one repetition, which begins with base live."""

    def __init__(self, sampler: Sampler, live: Shares) -> None: ...

    def offer(self, candidate: Shares) -> bool:
        """Whether the candidate, made from the live policy, becomes live."""
        ...

    @property
    def live(self) -> Shares:
        """The policy that is live now."""
        ...


@dataclass(slots=True)
class Always:
    """Accepts everything."""

    sampler: Sampler
    live: Shares

    def offer(self, candidate: Shares) -> bool:
        self.live = candidate
        return True


@dataclass(slots=True)
class HigherMean:
    """Accepts if the mean is higher than the live policy's: by labels if there are any, else by the
    pooled consensus on as many queries as the gate asks."""

    sampler: Sampler
    live: Shares

    def offer(self, candidate: Shares) -> bool:
        queries, labelled = _evidence(self.sampler, RULES.queries)
        ours, theirs = (self.sampler.draw(policy, queries) for policy in (candidate, self.live))
        rows = zip(queries.tolist(), ours, theirs, strict=True)
        total = sum(
            self.sampler.asked(q, mine, {"parent": other}, labelled=labelled).difference("parent")
            for q, mine, other in rows
        )
        if total > 0:
            self.live = candidate
        return total > 0


@dataclass(slots=True)
class Pace:
    """PACE (arXiv 2606.08106): commits when a bet on paired differences against the live policy,
    the mean of several fixed stakes, refutes "it does not improve" at 5%; stops after 1,000."""

    sampler: Sampler
    live: Shares

    def offer(self, candidate: Shares) -> bool:
        wealth = [1.0] * len(_PACE_STAKES)
        for _ in range(math.ceil(_PACE_MOST / RULES.queries)):
            queries, labelled = _evidence(self.sampler, RULES.queries)
            ours, theirs = (self.sampler.draw(p, queries) for p in (candidate, self.live))
            for query, mine, other in zip(queries.tolist(), ours, theirs, strict=True):
                pair = self.sampler.asked(query, mine, {"parent": other}, labelled=labelled)
                value = pair.difference("parent")
                wealth = [w * (1 + stake * value) for w, stake in zip(wealth, _PACE_STAKES,
                                                                       strict=True)]  # fmt: skip
                if sum(wealth) / len(wealth) >= 1 / _PACE_ALPHA:
                    self.live = candidate
                    return True
        return False


def _evidence(sampler: Sampler, most: int) -> tuple[npt.NDArray[np.int64], bool]:
    """The labelled queries in random order if there are any, else some of all."""
    if len(sampler.labels):
        return sampler.noise.permutation(sampler.labels), True
    return sampler.noise.permutation(len(sampler.planted.right))[:most], False


@dataclass(slots=True)
class Gate:
    """The product's decision code, fed as the trial feeds it."""

    sampler: Sampler
    live: Shares
    _best: Shares = field(init=False)
    _base: Shares = field(init=False)
    _standing: Standing = field(init=False, default_factory=Standing)
    _queries: list[tuple[npt.NDArray[np.int64], int]] = field(init=False)
    _replies: dict[tuple[int, int], list[list[int | None]]] = field(init=False)
    _policies: dict[int, Shares] = field(init=False)
    _on_trial: set[tuple[int, int]] = field(init=False, default_factory=set[tuple[int, int]])
    _trials: int = field(init=False, default=_REFRESH)
    _drawings: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._base = self._best = self.live
        self._queries, self._replies, self._policies = [], {}, {}

    def offer(self, candidate: Shares) -> bool:
        if self._trials >= _REFRESH:
            self._refresh()
        self._trials += 1
        others: dict[str, Shares] = {}
        for role, policy in (("parent", self.live), ("base", self._base), ("best", self._best)):
            if not any(policy is other for other in others.values()):
                others[role] = policy
        best = next(role for role, policy in others.items() if policy is self._best)
        self._standing.begin(str(id(self.live)), str(id(self._best)))
        decision = Decision(list(others), RULES, len(self.sampler.labels))
        finding = None
        for window, (queries, unlabelled) in enumerate(self._queries):
            rows = [self._drawn(p, window, queries) for p in (candidate, *others.values())]
            self._on_trial.add((id(candidate), window))
            for at, query in enumerate(queries.tolist()):
                theirs = dict(zip(others, (row[at] for row in rows[1:]), strict=True))
                asked = self.sampler.asked(query, rows[0][at], theirs, labelled=at >= unlabelled)
                decision.add(asked)
                selected = {(id(p), window) for p in (self.live, self._best)} & self._on_trial
                if best != "parent" and not selected:
                    self._standing.add((self._drawings, window, at), asked.between("parent", best))
            if finding := decision.look():
                break
        if finding is None or finding.accepted is False:
            if finding is None:
                self._trials = _REFRESH
            accepted = False
        else:
            accepted = True
            if decision.better_than(best):
                self._best = candidate
            self.live = candidate
        if self._standing.worse:
            self.live = self._best
        return accepted

    def _drawn(
        self, policy: Shares, window: int, queries: npt.NDArray[np.int64]
    ) -> Sequence[Clusters]:
        key = id(policy), window
        if key not in self._replies:
            self._policies[id(policy)] = policy  # so that no other gets the same id
            self._replies[key] = self.sampler.draw(policy, queries)
        return self._replies[key]

    def _refresh(self) -> None:
        """Draw the queries anew: those of each window, and how many of them are no labelled
        ones."""
        noise, rows = self.sampler.noise, self.sampler.planted.stream.queries
        order = spread([(row.slice,) for row in rows], random.Random(int(noise.integers(1 << 32))))
        order = np.resize(order, RULES.queries)
        labels = noise.permutation(self.sampler.labels)
        self._queries = [
            (np.concatenate([order[part.queries], labels[part.labels]]), len(part.queries))
            for part in windows(RULES.queries, len(labels))
        ]
        self._replies, self._policies, self._trials = {}, {}, 0
        self._on_trial.clear()
        self._drawings += 1


ACCEPTORS: Mapping[str, type[Acceptor]] = {
    "gate": Gate,
    "always": Always,
    "mean": HigherMean,
    "pace": Pace,
}  # pyright: ignore[reportAssignmentType]
