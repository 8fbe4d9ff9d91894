"""Answer kind `math`: mathematical answers and option letters."""

from collections.abc import Iterable, Sequence

from rewards.answers.equality.clusters import leaders, left_open
from rewards.answers.equality.forms import Form, form_of, plainly_equal
from rewards.answers.judging.time_budget import within
from rewards.answers.judging.verdicts import Judge, Verdicts
from rewards.answers.kind import may_vote
from rewards.answers.reading.replies import whole_value
from rewards.answers.reading.statements import marked
from rewards.answers.reading.values import last_value
from rewards.answers.tally import Tally
from rewards.rollouts import Rollout


class Equality:
    """Plain equality (`rewards.answers.equality`), then a judge for what that leaves open.

    Without a judge, open pairs differ. Verdicts are cached. Thread-safe if the judge is.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = Verdicts(judge) if judge else None

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are the same. Any doubt is a no."""
        one, other = form_of(first), form_of(second)
        plain = plainly_equal(one, other)
        return self._judged(one, other) if plain is None else plain

    def closeness(self, first: str, second: str) -> float:
        """1 for the same, else 0."""
        return float(self.same(first, second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        forms = [None if answer is None else form_of(answer) for answer in answers]
        with within():
            leader = leaders(_by_text(form for form in forms if form is not None), self._judged)
        numbers: dict[str, int] = {}
        clusters = [
            None if form is None else numbers.setdefault(leader[form.text], len(numbers))
            for form in forms
        ]
        return Tally(answers, clusters, [form and form.text for form in forms])

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Whether `tally` returns without waiting for the judge."""
        return self._judge is None or not left_open({form_of(a) for a in answers if a is not None})

    def _judged(self, one: Form, other: Form) -> bool:
        if self._judge is None:
            return False
        first, second = sorted((one, other), key=_by_source)
        return self._judge(first.source, second.source)


def _by_text(forms: Iterable[Form]) -> dict[str, Form]:
    """One form for each text, whatever their order: of those written differently, the one whose
    source is shortest."""
    return {form.text: form for form in sorted(forms, key=_by_source, reverse=True)}


def _by_source(form: Form) -> tuple[int, str]:
    return len(form.source), form.source


class MathAnswers(Equality):
    """What a text marks as its answer, or a whole reply that is a number, an expression or an
    option letter; by `last_number` else the last number."""

    name = "math"

    def __init__(self, judge: Judge | None = None, *, last_number: bool = True) -> None:
        super().__init__(judge)
        self._last_number = last_number

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        return math_answer(rollout.text, self._last_number) if may_vote(rollout) else None


def math_answer(text: str, last_number: bool = False) -> str | None:
    """What a text answers: what it marks; a whole reply that is a value or an option; the option
    letter alone on its last line; with `last_number`, the last number."""
    statement = marked(text)
    if statement.found:
        return statement.answer
    answer = whole_value(statement.reply)
    return last_value(statement.reply) if answer is None and last_number else answer
