"""The canned engine says what vLLM would: our own reader of vLLM's streams finds in it all that was
written, whatever was asked for."""

import itertools
import random
import re
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from loadtests.serving_replies import Shape, Step, Wanted, replies, rollouts
from rewards.answers.kind import answers_of
from rewards.answers.math_answers import MathAnswers
from server.engine.base import Draw
from server.engine.vllm_replies import RolloutAssembly, read_event

AS_RATCHET_ASKS = Wanted(n=8, stream=True, interval=1_000_000, token_ids=True, logprobs=True)


def body_of(steps: Sequence[Step]) -> bytes:
    """What follows the head, out of its chunks."""
    raw, read = b"".join(step.data for step in steps).partition(b"\r\n\r\n")[2], b""
    while (size := int(raw[: raw.index(b"\r\n")], 16)) > 0:
        start = raw.index(b"\r\n") + 2
        read, raw = read + raw[start : start + size], raw[start + size + 2 :]
    assert raw == b"0\r\n\r\n"
    return read


def chunks_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in body_of(steps).split(b"\n\n")]
    assert events[-2:] == [b"[DONE]", b""]
    return [read_event(event) for event in events[:-2]]


def draws_of(steps: Sequence[Step], count: int) -> list[Draw]:
    assembly = RolloutAssembly(count)
    draws = assembly.add(chunks_of(steps))
    assembly.check_whole()
    return draws


def test_a_stream_holds_every_rollout_with_its_ids_and_logprobs() -> None:
    shape = Shape(tokens=30, sigma=0.5, variants=3)
    for steps in replies(shape, AS_RATCHET_ASKS):
        draws = draws_of(steps, 8)
        assert len(draws) == 8
        assert all(draw.rollout.finish_reason == "stop" for draw in draws)
        assert all(len(draw.rollout.token_ids) == len(draw.rollout.logprobs) for draw in draws)
        assert all(re.search(r"\\boxed\{\d{3}\}$", draw.rollout.text) for draw in draws)
        assert None not in answers_of(MathAnswers(), [draw.rollout for draw in draws])


def test_pieces_come_in_the_order_in_which_an_engine_would_have_them() -> None:
    shape = Shape(tokens=30, sigma=0.5, variants=1)
    [steps] = replies(shape, AS_RATCHET_ASKS)
    tokens = [step.token for step in steps]
    assert tokens == sorted(set(tokens)) and tokens[:2] == [0, 1]
    chunks = chunks_of(steps[:2] + steps[2:])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta.get("role") for delta in deltas[:9]] == ["assistant"] * 8 + [None]
    assert all(len(chunk["choices"][0]["token_ids"]) == 1 for chunk in chunks[8:16])


def test_the_whole_reply_has_the_same_rollouts_as_the_stream() -> None:
    shape = Shape(tokens=30, sigma=0.5, variants=2)
    whole = replies(shape, Wanted(n=8))
    for steps, (reply,) in zip(replies(shape, AS_RATCHET_ASKS), whole, strict=True):
        head, _, body = reply.data.partition(b"\r\n\r\n")
        it = orjson.loads(body)
        draws = sorted(draws_of(steps, 8), key=lambda draw: draw.index)
        assert b"content-length: %d" % len(body) in head
        texts = [choice["message"]["content"] for choice in it["choices"]]
        assert texts == [draw.rollout.text for draw in draws]
        generated = [len(draw.rollout.token_ids) for draw in draws]
        assert it["usage"]["completion_tokens"] == sum(generated)
        assert reply.token == max(generated)


def test_an_ordinary_stream_has_a_token_an_event() -> None:
    [steps] = replies(Shape(tokens=20, variants=1), Wanted(stream=True))
    assert [step.token for step in steps] == [*range(21)]
    chunks = chunks_of(steps)
    assert len(chunks) == 21  # the role, twenty tokens
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks)
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert ends == [None] * 20 + ["stop"]


@pytest.mark.parametrize(("agreement", "least", "most"), [(1.0, 1.0, 1.0), (0.75, 0.7, 0.8)])
def test_answers_agree_as_often_as_is_said(agreement: float, least: float, most: float) -> None:
    rng, right = random.Random(1), 0
    for _ in range(200):
        texts = [one.text for one in rollouts(Shape(tokens=10, agreement=agreement), 16, rng)]
        counts = [len([*rows]) for _, rows in itertools.groupby(sorted(t[-11:] for t in texts))]
        right += max(counts)
    assert least <= right / 3200 <= most


def test_lengths_are_as_skewed_as_is_said() -> None:
    rng = random.Random(1)
    lengths = sorted(len(one.tokens) for one in rollouts(Shape(tokens=200, sigma=0.6), 2000, rng))
    assert 190 < lengths[1000] < 210
    assert 340 < lengths[1683] < 390  # a standard deviation up: 200 * e^0.6 = 364
