"""Reading and tallying a group takes milliseconds; ten times as long is a fault."""

import json
import random
import time

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.equality.forms import form_of
from rewards.answers.kind import answers_of
from rewards.answers.kinds import AnswerKinds
from rewards.answers.medoid import text_medoid
from rewards.rollouts import FINISHED, Rollout, ToolCall

ROLLOUTS, WORDS = 64, 380
MOST_MILLISECONDS = {"text": 100.0}
"""30 for the others: on an idle core they take 3 (`text` with its medoid 10)."""
CHOICES = {
    "choice": AnswerChoice("choice", options=("positive", "negative")),
    "pattern": AnswerChoice("pattern", pattern=r"answer is (\w+)"),
}
VOCABULARY = [f"{stem}{end}" for stem in ("wal", "run", "tal", "see") for end in range(100)]


def group(kind: str, rng: random.Random) -> list[Rollout]:
    """About 500 tokens each, and twelve different answers."""
    rollouts: list[Rollout] = []
    for _ in range(ROLLOUTS):
        fields = {f"k{n}": rng.choice(["a", n, 1.5]) for n in range(30)}
        calls = (ToolCall("f", json.dumps(fields)),) if kind == "tool_calls" else ()
        text = " ".join(rng.choices(VOCABULARY, k=WORDS))
        text = (
            json.dumps(fields) if kind == "json" else f"{text}. The answer is {rng.randrange(12)}."
        )
        rollouts.append(Rollout("" if calls else text, (), (), FINISHED, calls=calls))
    return rollouts


@pytest.mark.parametrize(
    "kind", ["auto", "math", "short", "choice", "pattern", "json", "tool_calls", "text"]
)
def test_a_group_is_read_and_tallied_in_milliseconds(kind: str) -> None:
    rng = random.Random(0)
    reader = AnswerKinds().of(CHOICES.get(kind, AnswerChoice(kind)))
    fastest = 1e9
    for _ in range(4):
        rollouts = group(kind, rng)
        started = time.process_time()
        answers = answers_of(reader, rollouts)
        reader.tally(answers)
        if kind == "text":
            text_medoid([answer for answer in answers if answer is not None])
        fastest = min(fastest, 1e3 * (time.process_time() - started))
    assert fastest < MOST_MILLISECONDS.get(kind, 30.0)


@pytest.mark.parametrize(
    "answer",
    [
        "1996, 1997, 1998, 1999, 2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007, \\ldots",
        "(" + ", ".join(map(str, range(1000, 1400))) + ", n)",
        "1,111" * 180 + "x",
        "1 111" * 180 + "x",
        "1.5-" * 400 + "x",
        "1/2, " * 400 + "x",
        "a" * 3_990,
        "a " * 1_900 + "= x = ?",
        "\\text{" * 400 + "x" + "}" * 400,
        "1" + " " * 3_900 + "x",
        "1 " * 1_900 + "x",
        "A) 1 " * 700,
        "\\" * 3_990,
    ],
    ids=lambda answer: answer[:12],
)
def test_an_answer_whose_end_does_not_fit_is_told_in_milliseconds(answer: str) -> None:
    started = time.process_time()
    form_of(answer)
    assert time.process_time() - started < 0.25
