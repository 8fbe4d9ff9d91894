"""Answer kind `math`: mathematical answers and option letters."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from rewards.answers.canonical import Form, Kind, form_of, plainly_equal
from rewards.answers.extraction import extract_answer
from rewards.answers.kind import may_vote
from rewards.answers.tally import Tally
from rewards.rollouts import Rollout

Judge = Callable[[str, str], bool]
"""Decides whether two answers mean the same, within some deadline of its own."""

MAX_JUDGED_PAIRS = 256
"""Most pairs of one tally that go to the judge; after them only plain equality counts."""


class MathAnswers:
    """Plain equality (`rewards.answers.canonical`), then a judge for what that leaves open.

    Without a judge, open pairs differ. `last_number`: take the last number of a text that marks no
    answer. Verdicts are cached. Thread-safe if the judge is.
    """

    name = "math"

    def __init__(self, judge: Judge | None = None, *, last_number: bool = True) -> None:
        self._judge = lru_cache(maxsize=65_536)(judge) if judge else None
        self._last_number = last_number

    def read(self, rollout: Rollout) -> str | None:
        return extract_answer(rollout.text, self._last_number) if may_vote(rollout) else None

    def same(self, first: str, second: str) -> bool:
        return self._same(form_of(first), form_of(second))

    def closeness(self, first: str, second: str) -> float:
        return float(self.same(first, second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """The judge's relation need not be transitive: each form, shortest first, is compared with
        the first form of every cluster so far."""
        forms = [None if answer is None else form_of(answer) for answer in answers]
        leader = self._leaders({form.text: form for form in forms if form is not None})
        numbers: dict[str, int] = {}
        clusters = [
            None if form is None else numbers.setdefault(leader[form.text], len(numbers))
            for form in forms
        ]
        return Tally(answers, clusters, [form and form.text for form in forms])

    def instant(self, answers: Sequence[str | None]) -> bool:
        return self._judge is None or not _open({form_of(a) for a in answers if a is not None})

    def _leaders(self, forms: dict[str, Form]) -> dict[str, str]:
        """For each form's text, the text of the form that leads its cluster."""
        if not _open(set(forms.values())):
            return {text: text for text in forms}
        leader: dict[str, str] = {}
        leading: list[Form] = []
        budget = MAX_JUDGED_PAIRS
        for text in sorted(forms, key=lambda text: (len(text), text)):
            for other in leading:
                equal = plainly_equal(other, forms[text])
                if equal is None and budget:
                    budget -= 1
                    equal = self._same(other, forms[text])
                if equal:
                    leader[text] = other.text
                    break
            else:
                leader[text] = text
                leading.append(forms[text])
        return leader

    def _same(self, first: Form, second: Form) -> bool:
        plain = plainly_equal(first, second)
        if plain is not None or self._judge is None:
            return bool(plain)
        return self._judge(*sorted((first.source, second.source), key=lambda s: (len(s), s)))


def _open(forms: set[Form]) -> bool:
    """Whether forms that differ may still be the same answer."""
    several = len({form.text for form in forms}) > 1
    return several and any(form.kind is Kind.EXPRESSION or form.rounded for form in forms)
