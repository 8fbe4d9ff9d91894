"""What is said of an answer is not the answer, whatever came before."""

import pytest

from rewards.answers.auto_answers import AutoAnswers
from rewards.answers.math_answers import math_answer
from rewards.answers.reading.statements import marked
from rewards.rollouts import FINISHED, Rollout


@pytest.mark.parametrize(
    "answered",
    [
        r"\boxed{12}",
        "**Answer:** 12",
        "#### 12",
        "The answer is 12.",
        "<answer>12</answer>",
        "A: 12",
    ],
)
@pytest.mark.parametrize(
    "remark",
    [
        "I hope this answer is helpful!",
        "Let me know if this answer is correct!",
        "The other answers are wrong.",
        "My answer is based on the passage.",
        "This answer is rounded.",
        "The answer is rounded to two places.",
        "**Explanation:** The answer is found by adding 5 and 7.",
        "Note: if the answer is taken modulo 10, the answer would be 2.",
        "You might think the answer is 7.",
        "So the answer is reasonable, and Bob is glad.",
        "The answer is on our website.",
        "The answer is therefore of great use.",
        "Is your answer 5? Your answer is 5 then.",
    ],
)
def test_a_closing_remark_does_not_displace_an_answer(answered: str, remark: str) -> None:
    assert marked(f"{answered}\n\n{remark}").answer == "12"


def test_a_remark_far_below_does_not_either() -> None:
    explained = "We add the two. " * 60
    text = f"**Answer:** 12\n\n{explained}\n\nMuch of the answer is owed to Bob."
    assert marked(text).answer == "12"


@pytest.mark.parametrize(
    "text",
    [
        "The answer is correct.",
        "The answer is as follows.",
        "The answer is in the text.",
        "The answer is found by adding.",
        "If x is 1 the answer would be 7.",
        "Other answers are 7 and 8.",
    ],
)
def test_a_remark_alone_is_no_answer(text: str) -> None:
    assert marked(text).answer is None
    assert AutoAnswers().read(Rollout(text, (), (), FINISHED)) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5}, no: the answer is 6", "6"),
        ("Answer: B\n\nNo, the answer is C.", "C"),
        ("<answer>Paris</answer> The answer is 5 letters long.", "Paris"),
        ("The answer is easy. The answer is 12.", "12"),
        ("The answer is 12. So the answer is a nice one.", "12"),
        ("The answer is Paris. No, the answer is Rome.", "Rome"),
        ("The answer would be 12.", "12"),
        ("If we add 5 and 7, the answer is 12.", "12"),
        ("I am sure that the answer is 12.", "12"),
        ("The answer is right triangle.", "right triangle"),
        ("The answer is red.", "red"),
        ("The answer is no solution.", "no solution"),
    ],
)
def test_an_answer_of_the_same_sort_does(text: str, answer: str) -> None:
    assert marked(text).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is therefore 12.", "12"),
        ("The answer is, of course, 12.", "12"),
        ("The answer is simple: 12.", "12"),
        ("The answer is therefore Tokyo.", "Tokyo"),
        ("The answer is, however, 12", "12"),
        ("The answer is Simply Red.", "Simply Red"),
        ("The answer is clear: B", "B"),
        ("The answer is wrong: 12", None),
        ("The answer is equal to 12.", "12"),
        ("The answer is approximately 12.5 meters.", "12.5 meters"),
        ("The answer is 12, not 15.", "12"),
        ("The correct answer is 12 (not 15).", "12"),
        ("The answer is clearly B.", "B"),
        ("The answer is just intonation.", "just intonation"),
        ("The answer is (3, 5).", "(3, 5)"),
    ],
)
def test_words_that_lead_to_it_are_left_out(text: str, answer: str | None) -> None:
    assert math_answer(text) == answer
