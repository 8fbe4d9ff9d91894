"""The votes on a question from look to look."""

from rewards.answers.math_answers import MathAnswers
from rewards.looks import LOOKS, Look, QuestionHistory, noise
from tests.unit.rewards.tallies import tally

KIND = MathAnswers()


class Watched:
    """A history, with a new group at each look unless it is named."""

    def __init__(self, questions: int = 10) -> None:
        self.history, self.groups = QuestionHistory(questions), 0

    def look(self, answers, question: str = "q", group: str | None = None) -> list[tuple]:
        self.groups += 1
        looks = self.history.look(question, group or str(self.groups), KIND, tally(answers))
        return [(look.flipped, look.share) for look in looks]


def test_a_look_is_a_flip_if_its_winner_is_another_answer() -> None:
    seen = Watched()
    assert seen.look(["1/2", "1/2", "3", None]) == [(False, 0.5)]
    assert seen.look(["0.5"]) == [(False, 0.5), (False, 1.0)]
    assert seen.look(["3", "3", "0.5"])[2:] == [(True, 2 / 3)]
    assert seen.look(["1/2"])[3:] == [(True, 1.0)]
    assert seen.look(["1/2"], question="another") == [(False, 1.0)]


def test_a_vote_that_nobody_won_is_no_look() -> None:
    seen = Watched()
    assert seen.look([None]) == []
    seen.look(["1"])
    assert seen.look([None, None]) == [(False, 1.0)]
    assert seen.look(["1"])[1:] == [(False, 1.0)]


def test_the_same_group_twice_is_one_look() -> None:
    seen = Watched()
    seen.look(["1"])
    first = seen.look(["2"], group="g")
    assert seen.look(["2"], group="g") == first == [(False, 1.0), (True, 1.0)]


def test_the_oldest_looks_and_questions_are_forgotten() -> None:
    seen = Watched(questions=2)
    for _ in range(LOOKS):
        seen.look(["1"])
    assert len(seen.look(["2"])) == LOOKS
    seen.look(["1"], question="b")
    seen.look(["2"])  # a look keeps a question
    seen.look(["1"], question="c")
    assert len(seen.look(["2"])) == LOOKS
    assert len(seen.look(["1"], question="b")) == 1
    assert len(seen.look(["1"], question="\ud800")) == 1


def test_chances_follow_from_the_group_alone() -> None:
    def chance(group: str) -> float:
        [look] = QuestionHistory().look("q", group, KIND, tally(["1"]))
        return look.chance

    assert chance("a") == chance("a") == noise("a", 1)[0]
    assert chance("a") != chance("b")
    assert all(0 <= value < 1 for value in noise(b"line", 1000))
    assert noise("a", 3)[:2] == noise("a", 2)
    assert 0.45 < sum(noise("mean", 2000)) / 2000 < 0.55
    assert Look(False, 1.0).chance == 0.0
