"""Whole replies; prose has no answer, whatever digits are in it."""

import pytest

from rewards.answers.auto_answers import AutoAnswers
from rewards.answers.reading.replies import short_reply, whole_value
from rewards.rollouts import FINISHED, Rollout


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Positive.", "Positive."),
        ("**yes**", "yes"),
        (" Tokyo\n", "Tokyo"),
        ("New York City", "New York City"),
        ("Apollo 11", "Apollo 11"),
        ("834", "834"),
        ("$5.00", "$5.00"),
        ("2024-01-15", "2024-01-15"),
        ("x + 1", "x + 1"),
        ("```\n42\n```", "42"),
        ("\\[\n42\n\\]", "42"),
        ("B) Paris", "B"),
        ("(C)", "C"),
        ("東京", "東京"),
        ("The capital of Japan is Tokyo.", "Tokyo"),
        ("The author is J. K. Rowling.", "J. K. Rowling"),
        ("Avogadro's number is 6.02e23", "6.02e23"),
        ("It was on 2024-01-15.", "2024-01-15"),
        ("The size is 10^5", "10^5"),
        ("So it takes 2½ hours", "2½ hours"),
        ("Tokyo is the capital of Japan.", "Tokyo is the capital of Japan."),
    ],
)
def test_a_reply_of_a_few_words_is_an_answer(reply: str, answer: str) -> None:
    assert short_reply(reply) == answer


LETTERS = [
    "Dear Ms Doe,\n\nyour order of 3 March 2025 has left our house.\n\nYours, 2025",
    "Your order ships on 2025-01-03.",
    "Your parcel 4711 will arrive in 3 days at your door",
    "Shipping takes 5-7 business days; tracking: 1Z999AA10123456784.",
]
TELEPHONES = [
    "555-1234", "(555) 123-4567", "+1-555-123-4567", "+49 30 1234567", "Call 555-1234.",
    "Our phone number is 555-1234.", "The number is (555) 123-4567.", "555.123.4567",
]  # fmt: skip
PROGRAMS = [
    "```python\nprint(42)\n```", "print(42)", "return x + 1", "x = foo();", "def f(): return 7",
    "```js\nconst a = 1;\nconsole.log(a);\n```", "for (i = 0; i < 10; i++) {}", "import os",
    "SELECT 1 FROM t", "#include <a.h>",
]  # fmt: skip
PROSE = [
    "I have 3 apples and you have 4 of them", "She walked 5 miles, and then another 7 miles home",
    "The sum is 12 and the mean is 6.", "The winner is Bob and the loser is Al.",
    "The trip takes 5 hours and the way back takes 6",
    "In 1969 Apollo 11 landed there", "We do not know what this could possibly be about",
    "First, add 3.\nThen add 4.", "", " ", "...", "?!",
]  # fmt: skip


@pytest.mark.parametrize("reply", [*LETTERS, *TELEPHONES, *PROGRAMS, *PROSE])
def test_unmarked_prose_has_none(reply: str) -> None:
    assert short_reply(reply) is None
    assert AutoAnswers().read(Rollout(reply, (), (), FINISHED)) is None


@pytest.mark.parametrize(
    "reply", ["The capital is not Tokyo.", "It is never 5 o'clock", "The winner isn't Bob"]
)
def test_what_is_denied_is_not_stated(reply: str) -> None:
    assert short_reply(reply) in (None, reply)


def test_a_whole_object_is_the_answer_whatever_is_marked_in_it() -> None:
    one = '{"why": "6*7, so the answer is 42.", "result": "yes"}'
    assert AutoAnswers().read(Rollout(one, (), (), FINISHED)) == one


def test_different_subjects_of_a_description_stay_apart() -> None:
    kind = AutoAnswers()
    one, other = "Tokyo is the capital.", "Kyoto is the capital."
    assert short_reply(one) == one
    assert not kind.same(one, other)


@pytest.mark.parametrize(
    ("reply", "value"),
    [("834", "834"), ("-7", "-7"), ("(B)", "B"), ("so I choose\n**D**", "D"), ("Tokyo", None),
     ("12+34=46", None), ("two words", None)],
)  # fmt: skip
def test_whole_values(reply: str, value: str | None) -> None:
    assert whole_value(reply) == value
