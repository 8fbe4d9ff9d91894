"""What hostile clients ask, whose turn it is, and the table."""

from itertools import islice

from openai import AsyncOpenAI

from evals.evaluation import Graded
from evals.items import Item
from loadtests.hostile_learning import Found, mixed, report, wrong_agreements
from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds

KIND = AnswerKinds().of(AnswerChoice("math"))
RIGHT = "4"


def graded(*answers: str | None) -> Graded:
    correct = [answer == RIGHT for answer in answers]
    return Graded(id="q", level="", answers=answers, correct=correct, maj=0.0, tokens=1.0)


def test_only_split_votes_for_a_wrong_answer_are_of_use() -> None:
    rows = [
        graded("5", "5", "4", None),
        graded("4", "4", "5", "5"),  # a tie that the right answer wins
        graded("5", "5", "5", "5"),  # all rewarded alike
        graded("5", "6", "7", "4"),
        graded(None, None, None, None),
        graded("4", "4", "4", "5"),
    ]
    items = [Item(str(number), f"{number}?", RIGHT) for number in range(len(rows))]
    assert wrong_agreements(items, rows, KIND) == [(items[0], "5")]


def test_every_fifth_question_is_hostile() -> None:
    asked = [Item(str(number), f"{number}?", "1") for number in range(8)]
    target = Item("t", "t?", "1")
    clients = [AsyncOpenAI(api_key=str(number)) for number in range(3)]
    turns = list(mixed(asked, [(target, "2")], clients[:2], clients[2:]))
    assert [turn.item.id for turn in turns] == [*"0123", "t", *"4567", "t"]
    assert [turn.wanted for turn in turns[4:5]] == ["2"]
    assert [turn.client.api_key for turn in turns] == [*"0101", "2", *"0101", "2"]
    assert turns[4].user != turns[9].user
    assert list(mixed(asked, [(target, "2")], clients[:2], [])) == list(
        islice(mixed(asked, [], clients[:2], clients[2:]), 8)
    )


def test_rows_are_compared_with_the_first() -> None:
    def found(after: float, hostile: int) -> Found:
        return Found(
            before=[0.5] * 4, after=[after] * 4, honest=8, hostile=hostile, still_wrong=0.25,
            failed=0, versions=3, rejected=1,
        )  # fmt: skip

    lines = report({"none": found(1.0, 0), "one key": found(0.75, 2)}).splitlines()
    assert lines[2] == "| none | 8, 0, 0 | 50.0 → 100.0 |  |  | 3, 1 |"
    assert lines[3] == ("| one key | 8, 2, 0 | 50.0 → 75.0 | -25.0 (-25.0 … -25.0) | 25% | 3, 1 |")
