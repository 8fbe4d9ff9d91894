"""The representatives of a reflection, its question, and the choice that is read from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.math_answers import MathAnswers
from rewards.reflection import Representative, choice_in, reflection_on, representatives_of
from rewards.rollouts import Rollout
from tests.unit.rewards.tallies import tally

KIND = MathAnswers()
TWO = [Representative("46", 0, "so 46"), Representative("56", 1, "so 56")]


def said(text: str, ended: str = "stop") -> Rollout:
    return Rollout(text, (), (), ended)


def test_one_representative_an_answer_the_closest_to_its_own() -> None:
    answers = ["46", "46", None, "46", "56"]
    texts = ["a b c", "a b x", "never said", "q r s", "z"]
    found = representatives_of(tally(answers), texts)
    # "a b c" and "a b x" are as close to each other as to "q r s": the first by text
    assert {(one.answer, one.cluster, one.text) for one in found} == {
        ("46", 0, "a b c"), ("56", 1, "z"),
    }  # fmt: skip
    assert representatives_of(tally([None]), ["x"]) == []


def test_the_commonest_answers_are_represented() -> None:
    answers = ["1", "2", "2", "3", "3", "3"]
    found = representatives_of(tally(answers), [f"text {n}" for n in range(6)], most=2)
    assert {one.answer for one in found} == {"2", "3"}


@given(st.permutations(range(6)))
def test_representatives_do_not_tell_who_came_first_or_has_the_votes(order) -> None:
    answers = ["1", "2", "2", "3", "3", "3"]
    texts = ["one", "two a", "two b", "three a", "three b", "three c"]
    straight = representatives_of(tally(answers), texts)
    shuffled = representatives_of(tally([answers[i] for i in order]), [texts[i] for i in order])
    assert [one.text for one in shuffled] == [one.text for one in straight]


def test_the_question_numbers_the_solutions() -> None:
    asked = reflection_on(TWO)
    assert "Solution 1:\nso 46\n\nSolution 2:\nso 56" in asked
    assert asked.endswith(r"such as \boxed{Solution 1}.")


def test_long_solutions_are_shortened_to_their_beginning_and_more_of_their_end() -> None:
    long = Representative("46", 0, "begins " + "x" * 9_000 + " ends in 46")
    asked = reflection_on([long, TWO[1]])
    assert len(asked) < 7_000
    assert "Solution 1:\nbegins xxx" in asked
    assert "xx ends in 46\n\nSolution 2" in asked
    head, tail = asked.split("[...]")
    assert len(tail) > 1.5 * (len(head) - 100)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Both check. \boxed{Solution 2}", "56"),
        (r"\boxed{\text{Solution 1}}", "46"),
        (r"first \boxed{Solution 1}, no: \boxed{solution #2}", "56"),
        (r"\boxed{2}", "56"),
        (r"\boxed{1}", "46"),
        (r"\boxed{46}", "46"),
        (r"<think>\boxed{1}</think> It is \boxed{Solution 2}.", "56"),
        ("Thus **Solution 2** is right.", "56"),
        ("Solution 1 adds wrongly.\nSolution: 2", "56"),
        # doubt
        (r"\boxed{Solution 3}", None),
        (r"\boxed{0}", None),
        (r"\boxed{Solution 1 and Solution 2}", None),
        ("Solution 1 or Solution 2", None),
        ("The answer is 46.", None),
        (r"\boxed{47}", None),
        (r"\boxed{Solution " + "1" * 5_000 + "}", None),
        (r"\boxed{Solution 1001}", None),
        (r"Solution 1 \boxed{", None),
        (r"<think>\boxed{1}", None),
        ("  ", None),
        ("", None),
    ],
)
def test_a_choice_is_read_or_nothing_is(text: str, answer: str | None) -> None:
    chosen = choice_in(said(text), TWO, KIND)
    assert (chosen and chosen.answer) == answer


def test_a_reflection_that_is_cut_short_or_loops_chooses_nothing() -> None:
    assert choice_in(said(r"\boxed{Solution 1}", "length"), TWO, KIND) is None
    assert choice_in(said("again and again " * 200 + r"\boxed{1}"), TWO, KIND) is None


def test_a_number_that_is_another_ones_answer_is_in_doubt() -> None:
    clash = [Representative("2", 0, "so 2"), Representative("3", 1, "so 3")]
    assert choice_in(said(r"\boxed{2}"), clash, KIND) is None
    assert choice_in(said(r"\boxed{Solution 2}"), clash, KIND) == clash[1]
    assert choice_in(said(r"\boxed{3}"), clash, KIND) == clash[1]
    same = [Representative("1", 0, "so 1"), Representative("3", 1, "so 3")]
    assert choice_in(said(r"\boxed{1}"), same, KIND) == same[0]
