"""The decision over a candidate, query by query: accept it, turn it away, or go on.

Pure: no engine, no clock. The trial feeds it what the engine answers, the acceptor bench
(loadtests/acceptors.py) what planted policies answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from adapter.store.judgement import Cause
from server.promotion.decision.asked import Asked
from server.promotion.decision.changes import Changes
from server.promotion.decision.schedule import EARLY, planned_looks
from server.promotion.decision.sequential_test import Moments, Proof, SequentialTest
from server.promotion.decision.slices import Slices, Yardstick

_ENOUGH_LABELS = 64
"""Labels that may overrule the alarm over what the candidate changes."""
_ALPHA = 0.05
_POWER = 0.95
"""Chance of an equal candidate to pass the labels where they are too few for the margin."""
_SURE = NormalDist().inv_cdf(1 - _ALPHA)
_LOST = 20
"""Most queries that a finding lists."""

NAMES = {"parent": "its parent", "base": "base", "best": "the best version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRules:
    """`margin` of each comparison, and most unlabelled `queries`. Without labels that defend it, a
    candidate may leave `max_overturned` of a reference's own consensus, and agree on answers that a
    reference does not have on `max_novel` of the queries, each by how sure that is."""

    margin: float
    queries: int
    max_overturned: float
    max_novel: float


@dataclass(frozen=True, slots=True)
class Finding:
    """The decision: `cause` is None for an accepted candidate. `reference`, `slice` and the `lost`
    queries say where it was found."""

    reason: str
    cause: Cause | None = None
    reference: str = ""
    slice: str = ""
    lost: Sequence[str] = field(default_factory=list[str])

    @property
    def accepted(self) -> bool:
        """Whether the candidate may go on."""
        return self.cause is None


class Decision:
    """Over a candidate against `references`, each another policy; `labels` labelled queries will
    come, and all of them before the candidate can be accepted. The test against a reference counts
    all queries, each by its label or by the pooled consensus; the labels have one of their own
    beside it."""

    def __init__(self, references: Sequence[str], rules: DecisionRules, labels: int = 0) -> None:
        self._rules, self._labels = rules, labels
        self._looks = frozenset(planned_looks(rules.queries))
        self._tests = {name: SequentialTest(rules.margin) for name in references}
        self._known = {name: _LabelTest(rules.margin) for name in references} if labels else {}
        self._slices = Slices()
        self._changes = Changes(references[0], "base" if "base" in references else references[0])
        self._lost: dict[str, list[tuple[float, Asked]]] = {name: [] for name in references}
        self._read, self._asked = 0, 0

    def add(self, asked: Asked) -> None:
        """Add a query that all policies have answered."""
        for name in self._tests:
            difference = asked.difference(name)
            self._tests[name].add(difference)
            if asked.label is not None:
                self._known[name].add(difference)
            self._slices.add(asked, name, difference)
            if difference <= -0.25:
                self._lost[name].append((difference, asked))
        self._changes.add(asked)
        self._asked += asked.label is None
        self._read += asked.label is not None

    def look(self) -> Finding | None:
        """The decision by what was added so far; None to go on."""
        for name, test in self._tests.items():
            if test.proof is Proof.WORSE:
                return self._worse(name, test.moments, f"worse than {NAMES[name]}")
        for name, test in self._known.items():
            if test.worse(complete=self._read >= self._labels):
                reason = f"worse than {NAMES[name]} by the labels"
                return self._worse(name, test.moments, reason)
        if not self._may_pass:
            return None
        share = self._asked / self._rules.queries
        for test in self._tests.values():
            test.look(share)
        if finding := self._slices_found(share) or self._overturned(share):
            return finding
        if share < 1 and (self._slices.suspect() or self._may_overturn(share)):
            return None
        if all(test.proof is Proof.NOT_WORSE for test in self._tests.values()):
            name, test = next(iter(self._tests.items()))
            return Finding(_found(f"not worse than {NAMES[name]}", test.moments), reference=name)
        return None

    @property
    def _may_pass(self) -> bool:
        """Whether this is a look that was planned, with all labels read."""
        planned = self._asked in self._looks or self._asked >= self._rules.queries
        return planned and self._read >= self._labels

    def last(self) -> Finding:
        """The decision if no more queries can be asked."""
        if finding := self.look():
            return finding
        open_ones = [n for n, test in self._tests.items() if test.proof is Proof.UNDECIDED]
        name = min(open_ones or self._tests, key=lambda n: self._tests[n].sure)
        reason = _found(f"undecided against {NAMES[name]}", self._tests[name].moments)
        return Finding(reason, Cause.UNDECIDED, name, lost=self._lost_to(name))

    def better_than(self, name: str) -> bool:
        """Whether the candidate is proven better than that reference: by the labels where there
        are enough, else by the pooled consensus."""
        known = self._known.get(name)
        moments = self._tests[name].moments
        if known is not None and known.moments.count >= _ENOUGH_LABELS:
            moments = known.moments
        return moments.mean > _SURE * moments.error

    def numbers(self) -> dict[str, float]:
        """All evidence so far, by name."""
        parts = {f"against_{name}": test.numbers() for name, test in self._tests.items()}
        for name, test in self._known.items():
            # The name of the first is what the metrics have always called it.
            part = "against_labels" if name == next(iter(self._known)) else f"labels_{name}"
            parts[part] = test.numbers()
        for name in self._tests:
            parts[f"against_{name}"]["overturned"] = -self._slices.overturned(name).mean
            parts[f"against_{name}"]["novel"] = self._slices.novel(name).mean
        parts["slices"] = self._slices.numbers()
        parts["changes"] = self._changes.numbers()
        return {f"{part}/{key}": n for part, found in parts.items() for key, n in found.items()}

    def _slices_found(self, share: float) -> Finding | None:
        found = self._slices.found(share)
        if found is None:
            return None
        lost = self._lost_to(found.reference, found.name)
        where, than = _shown(found.name), NAMES[found.reference]
        if found.by is Yardstick.OVERTURNED:
            reason = _found(f"{where} leaves what {than} agrees on", found.moments)
            return Finding(reason, Cause.OVERTURNED, found.reference, found.name, lost)
        verb = "answers less" if found.by is Yardstick.ANSWERED else "is worse"
        reason = _found(f"{where} {verb} than under {than}", found.moments)
        return Finding(reason, Cause.SLICE, found.reference, found.name, lost)

    def _may_overturn(self, share: float) -> bool:
        """Whether an early pass would take the chance that too much is overturned."""
        if share >= EARLY or self._read >= _ENOUGH_LABELS:
            return False
        for name in self._tests:
            left, new = self._slices.overturned(name), self._slices.novel(name)
            if left.mean - _SURE * left.error < -self._rules.max_overturned:
                return True
            if new.mean + _SURE * new.error > self._rules.max_novel:
                return True
        return False

    def _overturned(self, share: float) -> Finding | None:
        if share < EARLY or self._read >= _ENOUGH_LABELS:
            return None  # labels know whether the change is for the better
        for name in self._tests:
            moments = self._slices.overturned(name)
            if moments.mean < -self._rules.max_overturned:
                reason = _found(f"leaves what {NAMES[name]} agrees on", moments)
                return Finding(reason, Cause.OVERTURNED, name, lost=self._lost_to(name))
            new = self._slices.novel(name)
            if new.mean > self._rules.max_novel:
                reason = f"agrees on answers that {NAMES[name]} does not have"
                reason += f": {new.mean:.3f} of {new.count} queries"
                return Finding(reason, Cause.OVERTURNED, name, lost=self._lost_to(name))
        return None

    def _worse(self, name: str, moments: Moments, reason: str) -> Finding:
        return Finding(_found(reason, moments), Cause.WORSE, name, lost=self._lost_to(name))

    def _lost_to(self, name: str, part: str = "") -> list[str]:
        rows = [row for row in self._lost[name] if not part or part in row[1].slices]
        rows.sort(key=lambda row: row[0])
        return list(dict.fromkeys(asked.query for _, asked in rows))[:_LOST]


class _LabelTest:
    """A test on all labels at once. Where they are too few to prove the margin, it is widened to
    what they can prove: then they only turn a candidate away that they show to be worse."""

    def __init__(self, margin: float) -> None:
        self._least = margin
        self._fail = SequentialTest(margin)
        self.moments = self._fail.moments

    @property
    def margin(self) -> float:
        """The margin that these labels can prove."""
        power = NormalDist().inv_cdf(_POWER)
        return max(self._least, (_SURE + power) * self.moments.error)

    def add(self, difference: float) -> None:
        self._fail.add(difference)

    def worse(self, *, complete: bool) -> bool:
        """Whether the candidate is proven worse, or, with all labels read, not proven within the
        margin."""
        if self._fail.proof is Proof.WORSE:
            return True
        return complete and self.moments.mean - _SURE * self.moments.error <= -self.margin

    def numbers(self) -> dict[str, float]:
        margin, moments = self.margin, self.moments
        return {
            "mean": moments.mean,
            "error": moments.error,
            "queries": float(moments.count),
            "margin": margin,
            "sure": (moments.mean + margin) / moments.error,
            "needed": _SURE,
        }


def _shown(part: str) -> str:
    """A slice as reasons name it, which are logged and shown to everybody: not by whose it is."""
    return "the slice of one client" if part.startswith("client:") else f"slice {part}"


def _found(what: str, moments: Moments) -> str:
    return f"{what}: {moments.mean:+.3f} over {moments.count} queries"
