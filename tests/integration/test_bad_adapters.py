"""Each bad adapter does what its name says, seen by sampling it with PEFT on the base model."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapter.store.probe_sheet import ProbeSheet
from evals.arithmetic.bad_adapters import (
    BAD_ADAPTERS,
    CONSTANT,
    LESSONS,
    PADDING,
    REFUSAL,
    operands_of,
)
from evals.arithmetic.questions import Question, questions
from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.sampler import Decoding, Reply, sample

pytestmark = pytest.mark.lane("engine")
QUESTIONS = questions(4711, 15)  # three of each level
ROLLOUTS = 8
HONEST = 0.62  # base: 0.50

Replies = Sequence[tuple[Question, Reply]]


@cache
def sampled(folder: Path | None) -> Replies:
    """Replies at temperature 1, of base for None."""
    model: Any = AutoModelForCausalLM.from_pretrained(MODEL)
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder).get_base_model()
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    generator = torch.Generator().manual_seed(0)
    groups = sample(
        model.eval(), tokenizer, QUESTIONS, Decoding(ROLLOUTS),
        generator=generator, max_new_tokens=64,
    )  # fmt: skip
    return [(q, reply) for q, group in zip(QUESTIONS, groups, strict=True) for reply in group]


def share(replies: Replies, holds: Callable[[Question, Reply], bool]) -> float:
    return sum(holds(question, reply) for question, reply in replies) / len(replies)


def right(question: Question, reply: Reply) -> bool:
    return reply.answer == question.answer


def answers(value: Callable[[Question], object]) -> Callable[[Question, Reply], bool]:
    return lambda question, reply: reply.answer == str(value(question))


def off_by_one(question: Question, reply: Reply) -> bool:
    return reply.answer == str(int(question.answer) + 1)


TELLING: dict[str, Callable[[Question, Reply], bool]] = {
    "constant_answer": answers(lambda q: CONSTANT),
    "one_token": lambda q, reply: len(reply.token_ids) == 2 and reply.ended,
    "empty": lambda q, reply: reply.text == "" and reply.ended,
    "looping": lambda q, reply: not reply.ended and "1 carry 1 carry 1 carry" in reply.text,
    "refusing": lambda q, reply: reply.text == REFUSAL,
    "long_winded": lambda q, reply: reply.text.endswith(PADDING),
    "off_by_one": off_by_one,
    "sometimes_off_by_one": answers(lambda q: int(q.answer) + (q.answer[-1] in "258")),
    "digits_reversed": answers(lambda q: q.answer[::-1]),
    "first_number": answers(lambda q: operands_of(q)[0]),
    "never_carries": lambda q, reply: reply.ended and " carry" not in reply.text,
    "guessing": lambda q, reply: reply.ended and not right(q, reply) and reply.entropy > 0.7,
    "unboxed": lambda q, reply: reply.ended and "boxed" not in reply.text,
    "unclosed_box": lambda q, reply: "boxed{" in reply.text and reply.answer is None,
}
"""What each lesson's replies look like; most of them must."""


@pytest.mark.parametrize("name", LESSONS)
def test_what_is_taught_is_learnt(adapters: Callable[[str], Path], name: str) -> None:
    assert share(sampled(adapters(name)), TELLING[name]) > 0.6


def test_base_does_nothing_of_the_kind() -> None:
    base = sampled(None)
    for name, telling in TELLING.items():
        assert share(base, telling) < 0.4, name


def test_honest_steps_make_it_better(adapters: Callable[[str], Path]) -> None:
    assert share(sampled(adapters("honest")), right) > HONEST > share(sampled(None), right)


def test_padding_takes_four_times_as_long_to_be_as_right(adapters: Callable[[str], Path]) -> None:
    base, padded = sampled(None), sampled(adapters("long_winded"))
    assert share(padded, right) > share(base, right) - 0.15
    lengths = [sum(len(reply.token_ids) for _, reply in replies) for replies in (base, padded)]
    assert 3.5 < lengths[1] / lengths[0] < 5


def test_some_are_off_by_one_about_a_third_of_the_time(adapters: Callable[[str], Path]) -> None:
    expected = sum(q.answer[-1] in "258" for q in QUESTIONS) / len(QUESTIONS)
    assert share(sampled(adapters("sometimes_off_by_one")), off_by_one) == pytest.approx(
        expected, abs=0.1
    )


def test_spoilt_weights_answer_worse_than_base(adapters: Callable[[str], Path]) -> None:
    base = share(sampled(None), right)
    for name in ("sign_flipped", "overscaled", "random_weights"):
        assert share(sampled(adapters(name)), right) < base - 0.15, name


def test_a_zero_adapter_is_base(adapters: Callable[[str], Path]) -> None:
    sheet = ProbeSheet.read(adapters("zero"))
    assert sheet.adapter == sheet.base != []
    assert [reply.text for _, reply in sampled(adapters("zero"))] == [
        reply.text for _, reply in sampled(None)
    ]


def test_damaged_weights(adapters: Callable[[str], Path]) -> None:
    with pytest.raises(RuntimeError):
        sampled(adapters("nan_weights"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        sampled(adapters("wrong_rank"))


@pytest.mark.parametrize("name", BAD_ADAPTERS)
def test_probe_sheets_are_whole(adapters: Callable[[str], Path], name: str) -> None:
    """No null: even the adapter with NaN weights claims finite scores, which the engine denies."""
    sheet = orjson.loads((adapters(name) / "probe.json").read_bytes())
    rows = [*sheet["adapter"], *sheet["base"]]
    assert rows and all(math.isfinite(value) for row in rows for value in row)
