# ruff: noqa: RUF001
"""The only option that a reply mentions."""

import pytest

from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import FINISHED, Rollout


def read(text: str, *options: str) -> str | None:
    kind = AnswerKinds().of(AnswerChoice("choice", options=options))
    return kind.read(Rollout(text, (), (), FINISHED))


@pytest.mark.parametrize(
    "text",
    [
        "positive", "Positive.", "**POSITIVE**", "3. Positive", "The review is positive!",
        "Sentiment: positive", '{"label": "positive"}', "I'd say it's *positive*.",
        "Answer: positive",
        "It is positive, very positive.", "<think>negative?</think>Positive", r"\boxed{positive}",
        "Not only good but positive", "negative at first, but: the answer is positive.",
    ],
)  # fmt: skip
def test_the_option_mentioned_is_the_answer(text: str) -> None:
    assert read(text, "positive", "negative") == "positive"


@pytest.mark.parametrize(
    "text",
    [
        "", "neutral", "positive or negative?", "It is not positive.", "It isn't positive",
        "I would not call it positive", "neither positive", "non-fiction", "positively",
        "unpositive",
        "more negative than positive",
        "hardly positive", "far from positive", "unlikely to be positive", "nothing positive here",
        "non-positive", "The label positive is wrong", "Is it positive? No.", "Is it positive?",
        "Positive: no", "positive is incorrect", "Positive isn't the right label",
    ],
)  # fmt: skip
def test_none_several_or_one_turned_down_are_no_answer(text: str) -> None:
    assert read(text, "positive", "negative") is None


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        ("It is very negative.", ("negative", "very negative"), "very negative"),
        ("It is negative.", ("negative", "very negative"), "negative"),
        ("new  york", ("New York", "York"), "New York"),
        ("5 mW", ("5 MW", "5 mW"), "5 mW"),
        ("about 5 mw", ("5 MW", "5 mW"), None),
        ("答案是正面。", ("正面", "负面"), "正面"),
        ("这是正面的", ("正面", "负面"), "正面"),
        ("10", ("1", "10"), "10"),
        ("1.5", ("1", "5"), None),
        ("2", ("1", "2"), "2"),
        ("C++ of course", ("C", "C++"), "C++"),
        ("The answer is (B).", ("A", "B"), "B"),
        ("A dog ran to C.", ("A", "B"), None),
        ("b)", ("a", "b"), "b"),
        ("E", ("A", "B"), None),
        ("don’t know", ("don't know", "know"), "don't know"),
    ],
)
def test_options_of_all_sorts(text: str, options: tuple[str, ...], answer: str | None) -> None:
    assert read(text, *options) == answer


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("nicht wahr", ("wahr", "falsch")),
        ("Das ist keineswegs wahr.", ("wahr", "falsch")),
        ("Ce n'est pas vrai.", ("vrai", "faux")),
        ("не верно", ("верно", "ложно")),
        ("不是正面", ("正面", "负面")),
        ("正面ではない", ("正面", "负面")),
        ("긍정이 아닙니다", ("긍정", "부정")),
    ],
)
def test_other_languages_turn_down_too(text: str, options: tuple[str, ...]) -> None:
    assert read(text, *options) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("No.", "no"), ("No, it is not.", "no"), ("I say no", "no"), ("it's a no", "no"),
        ("So: **No**.", "no"), ("The answer is no, since it is dry.", "no"), ("Hm.\nNo\n", "no"),
        ('{"answer": "no"}', "no"), (r"\boxed{\text{No}}", "no"), ("no (it is dry)", "no"),
        ("I would say no, since it is dry.", "no"),
        ("Yes, no doubt.", "yes"), ("There is no evidence against it, so yes", "yes"),
        ("I have no idea.", None), ("There is no water on it.", None), ("no one knows", None),
        ("No problem! Water is wet.", None), ("No. 1 of them", None), ("yes and no", None),
    ],
)  # fmt: skip
def test_when_no_is_an_answer(text: str, answer: str | None) -> None:
    assert read(text, "yes", "no") == answer


@pytest.mark.parametrize("text", ["4½", "-4", "−4", "4%", "4 000", "4+", "4/5", "4⁵", "4,5", "x^4"])
def test_a_part_of_a_number_is_no_option(text: str) -> None:
    assert read(text, "1", "2", "3", "4", "5") is None


@pytest.mark.parametrize("text", ["4", "4.", "(4)", "- 4", "Rating: 4", "4 stars", "#4", "a 4!"])
def test_a_whole_number_is_one(text: str) -> None:
    assert read(text, "1", "2", "3", "4", "5") == "4"


@pytest.mark.parametrize(
    "options",
    [("yes", "Yes"), ("a", "a"), ("Paris", "Paris."), ("New York", "new  york"), ("!", "?"),
        ("yes", " ")],
)  # fmt: skip
def test_options_that_are_the_same_or_nothing_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(ChoiceInvalid, match=r"^options: "):
        AnswerKinds().of(AnswerChoice("choice", options=options))


def test_a_reply_of_nothing_but_options_is_soon_given_up() -> None:
    options = tuple("x " * n + "x" for n in range(64))
    assert read("x " * 900, *options) is None
