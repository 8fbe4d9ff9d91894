"""When two answers are the same: one relation for votes, rewards and grades."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from rewards.answers.canonical import Form, Kind, form_of, plainly_equal
from rewards.answers.tally import Ballot

Judge = Callable[[str, str], bool]
"""Decides whether two answers mean the same; may take a while, never forever."""

MAX_JUDGED_PAIRS = 256
"""Pairs of one ballot that may go to the judge; beyond it, only plain equality counts."""


class Equality:
    """Plain equality first (`rewards.answers.canonical`), and a judge for what that leaves open.

    Without a judge, open cases are different answers. Verdicts are remembered. Thread-safe if the
    judge is.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge
        self._judged = lru_cache(maxsize=65_536)(judge) if judge else None

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are one answer."""
        return self._same(form_of(first), form_of(second))

    def ballot(self, answers: Sequence[str | None]) -> Ballot:
        """Group M answers. Which answers share a cluster does not depend on their order.

        Equality by judgement need not be transitive, so forms are compared, shortest first, with
        the first form of each cluster so far.
        """
        forms = [None if answer is None else form_of(answer) for answer in answers]
        leader = self._leaders({form.text: form for form in forms if form is not None})
        numbers: dict[str, int] = {}
        clusters = [
            None if form is None else numbers.setdefault(leader[form.text], len(numbers))
            for form in forms
        ]
        return Ballot(answers, clusters)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Whether `ballot` will not have to ask the judge."""
        return self._judge is None or not self._open({form_of(a) for a in answers if a is not None})

    def matches(self, ballot: Ballot, answer: str) -> int | None:
        """The cluster of a ballot that equals an answer from outside; None if none does."""
        for cluster, rows in enumerate(ballot.members):
            if self.same(ballot.answers[rows[0]] or "", answer):
                return cluster
        return None

    def _leaders(self, forms: dict[str, Form]) -> dict[str, str]:
        """For each form's text, the text of the form that leads its cluster."""
        if self._judge is None or not self._open(set(forms.values())):
            return {text: text for text in forms}
        leader: dict[str, str] = {}
        leading: list[Form] = []
        budget = MAX_JUDGED_PAIRS
        for text in sorted(forms, key=lambda text: (len(text), text)):
            found = None
            for other in leading:
                equal = plainly_equal(other, forms[text])
                if equal is None and budget:
                    budget -= 1
                    equal = self._same(other, forms[text])
                if equal:
                    found = other.text
                    break
            if found is None:
                leading.append(forms[text])
            leader[text] = found or text
        return leader

    @staticmethod
    def _open(forms: set[Form]) -> bool:
        texts = {form.text for form in forms}
        return len(texts) > 1 and any(
            form.kind is Kind.EXPRESSION or form.rounded for form in forms
        )

    def _same(self, first: Form, second: Form) -> bool:
        plain = plainly_equal(first, second)
        if plain is not None or self._judged is None:
            return bool(plain)
        return self._judged(*sorted((first.source, second.source), key=lambda s: (len(s), s)))
