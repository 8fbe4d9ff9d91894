"""Answer kind `auto`: whatever a reply plainly answers with."""

from collections.abc import Sequence

from rewards.answers.judging.verdicts import Judge
from rewards.answers.kind import may_vote
from rewards.answers.math_answers import Equality
from rewards.answers.reading.replies import short_reply
from rewards.answers.reading.statements import marked
from rewards.answers.structured.json_answers import JsonAnswers, says_json, whole_json
from rewards.answers.tally import Tally
from rewards.rollouts import Rollout


class AutoAnswers(Equality):
    """A whole reply that is a JSON object or list; a marked answer; a whole reply of a few words.
    Prose has none, whatever digits are in it: see the kind `text`."""

    name = "auto"

    def __init__(self, judge: Judge | None = None) -> None:
        super().__init__(judge)
        self._json = JsonAnswers()

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        if not may_vote(rollout):
            return None
        statement = marked(rollout.text)
        if (whole := whole_json(statement.reply, containers=True)) is not None:
            return whole
        return statement.answer if statement.found else short_reply(statement.reply)

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are the same, as JSON if both are."""
        if says_json(first) and says_json(second):
            return self._json.same(first, second)
        return super().same(first, second)

    def closeness(self, first: str, second: str) -> float:
        """Of JSON, the share of fields that agree; else 1 for the same, and 0."""
        if says_json(first) and says_json(second):
            return self._json.closeness(first, second)
        return super().closeness(first, second)

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        given = [answer for answer in answers if answer is not None]
        if not any(map(says_json, given)):
            return super().tally(answers)
        if all(map(says_json, given)):
            return self._json.tally(answers)
        return self._mixed(answers)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Whether `tally` returns without waiting for the judge."""
        return super().instant([None if a is None or says_json(a) else a for a in answers])

    def _mixed(self, answers: Sequence[str | None]) -> Tally:
        """JSON apart from the rest."""
        rest = super().tally([None if a is None or says_json(a) else a for a in answers])
        objects = self._json.tally([a if a is not None and says_json(a) else None for a in answers])
        numbers: dict[tuple[bool, int], int] = {}
        clusters: list[int | None] = []
        for one, other in zip(rest.clusters, objects.clusters, strict=True):
            cluster = one if one is not None else other
            clusters.append(
                None
                if cluster is None
                else numbers.setdefault((one is not None, cluster), len(numbers))
            )
        forms = [a or b for a, b in zip(rest.canonical, objects.canonical, strict=True)]
        return Tally(answers, clusters, forms)
