"""How many rollouts a question begins with, and whether it is worth learning from.

Both follow what questions like it have needed lately. A slice of the traffic is known at several
widths, from the narrowest (a prompt's template) to all: the narrowest that has been seen enough
counts. What is remembered fades, so that traffic which turns hard again is noticed: a question
that needs one rollout only is now and then given two, and a slice whose pairs of rollouts disagree
loses the trust that it had.
"""

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from rewards.early_decision import unanimous_rollouts

_KEPT_SLICES = 1_024
"""Of those the oldest of the key with most gives way: nobody's prompts wear out what is known of
other keys' questions."""
_MEMORY, _LONG_MEMORY = 48.0, 192.0
"""Questions that a slice's disagreement looks back on, fading: as far as trust goes, and as far as
it is worth learning from."""
_TRUSTED = 12.0
"""Questions seen of a slice before it counts rather than a wider one."""
_NEEDS = 32
_UNKNOWN = 4
"""Rollouts that a question begins with of which nothing is known."""
_AUDITED = 4
"""Of so many questions which one rollout may answer, one begins with two."""
_SLAB = 3.0
"""Two rollouts of a question whose p1 is uniform disagree one time in three: the integral of
2p(1 - p)."""
_MIXED, _SETTLED = 1 / 3, 0.04
"""Above the one disagreement a first wave is hardly ever enough, so that all are drawn at once, and
are the learner's without a choice; below the other, where 98 of 100 rollouts say the same, what
could be learnt is not worth a verdict."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question's rollouts are drawn: `first` of them, more while the vote is open at
    `confidence` and `unanimity` (rewards/early_decision.py). `learns`: the rest of its rollouts
    are drawn for the learner too if the first ones do not decide the vote. What it shows
    `stands_for` so many questions: one that is audited for those that are not."""

    first: int
    confidence: float
    unanimity: float = 0.0
    learns: bool = True
    stands_for: int = 1


@dataclass(slots=True)
class _Disagreement:
    """The share of pairs that disagree in first waves, over so many of them, fading."""

    memory: float
    seen: float = 0.0
    total: float = 0.0

    def add(self, share: float) -> None:
        fading = 1.0 - 1.0 / self.memory
        self.seen = self.seen * fading + 1.0
        self.total = self.total * fading + share

    @property
    def share(self) -> float:
        return self.total / self.seen if self.seen else 1.0


@dataclass(slots=True)
class _Slice:
    lately: _Disagreement = field(default_factory=lambda: _Disagreement(_MEMORY))
    longer: _Disagreement = field(default_factory=lambda: _Disagreement(_LONG_MEMORY))
    needs: deque[int] = field(default_factory=lambda: deque(maxlen=_NEEDS))
    asked_alone: int = 0
    """Questions for which one rollout would do."""
    audited_at: int = 0
    """Which of the next `_AUDITED` of them is audited: at random, or traffic that takes turns would
    have the same question audited each time."""

    @property
    def audits(self) -> bool:
        """Whether this question, for which one rollout would do, is to be audited."""
        turn = self.asked_alone % _AUDITED
        if turn == 0:
            self.audited_at = random.randrange(_AUDITED)
        self.asked_alone += 1
        return turn == self.audited_at

    @property
    def unanimity(self) -> float:
        """The share of questions with one answer only, at the least; one more that disagrees is
        always supposed."""
        return max(0.0, 1.0 - _SLAB * (self.lately.total + 1.0) / (self.lately.seen + 2.0))


class Governor:
    """One per server process, in memory. `affords` says whether learning may cost anything now."""

    def __init__(self, affords: Callable[[], bool] = lambda: True) -> None:
        self._affords = affords
        self._slices: OrderedDict[str, _Slice] = OrderedDict()
        self._held: Counter[str] = Counter()

    def plan(self, slices: Sequence[str], size: int, confidence: float) -> Plan:
        """For a question in these `slices`, narrowest first, with at most `size` rollouts; for a
        vote that nothing but all of them decides (`confidence` 1), all at once."""
        if confidence >= 1.0:
            return Plan(size, confidence, learns=self._affords())
        known = self._known(slices)
        if known is None:
            return Plan(min(_UNKNOWN, size), confidence, learns=self._affords())
        unanimity = known.unanimity
        enough = unanimous_rollouts(confidence, unanimity)
        learns = known.longer.share >= _SETTLED and self._affords()
        first = min(enough, int(median(known.needs)))
        if known.lately.share > _MIXED:
            first = size if learns else 2
        if min(first, size) > 1:
            return Plan(min(first, size), confidence, unanimity, learns)
        if size > 1 and known.audits:
            return Plan(2, confidence, unanimity, learns, _AUDITED)
        return Plan(1, confidence, unanimity, learns)

    def learn(self, slices: Sequence[str], disagreement: float | None, needed: int) -> None:
        """Remember a question: the share of the pairs in its first wave that disagreed, None if it
        had but one rollout, and how many would have been enough."""
        for name in slices:
            one = self._slices.get(name)
            if one is None:
                one = self._slices[name] = _Slice()
                self._held[_holder(name)] += 1
            self._slices.move_to_end(name)
            one.needs.append(needed)
            if disagreement is not None:
                one.lately.add(disagreement)
                one.longer.add(disagreement)
        while len(self._slices) > _KEPT_SLICES:
            most = max(self._held, key=self._held.__getitem__)
            self._drop(next(name for name in self._slices if _holder(name) == most))

    def forget(self, client: str) -> None:
        """Drop the slices of a key's holder, by its pseudonym."""
        for name in [name for name in self._slices if _holder(name) == client]:
            self._drop(name)

    def split(self, name: str) -> float | None:
        """The share of pairs that disagree lately in a slice; None before there are any."""
        one = self._slices.get(name)
        return one.lately.share if one is not None and one.lately.seen else None

    def _drop(self, name: str) -> None:
        del self._slices[name]
        self._held -= Counter([_holder(name)])

    def _known(self, slices: Sequence[str]) -> _Slice | None:
        """The narrowest slice of which enough has been seen."""
        found = (self._slices.get(name) for name in slices)
        return next((one for one in found if one is not None and one.lately.seen >= _TRUSTED), None)


def _holder(name: str) -> str:
    """Whose questions a slice has."""
    return name.partition(":")[0]
