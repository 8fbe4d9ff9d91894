"""What is given up first as the engine fills."""

from contextlib import AbstractContextManager
from typing import Any

import pytest

from server.api.errors import Overloaded
from server.api.requests import ChatRequest, TextRequest
from server.charge import Cost
from server.metrics import ServerMetrics
from server.vote.admission import Admission, Ticket
from tests.serving import QUESTION, serving

CHARS, LIMIT = 40, 90  # ten tokens in, ninety out


def admitted(
    admission: Admission, limit: int | None, chars: int, rollouts: int
) -> AbstractContextManager[Ticket]:
    return admission.admit(admission.cost(limit, chars, rollouts))


def test_recording_then_rollouts_then_requests() -> None:
    admission = Admission(1000, ServerMetrics())
    with admitted(admission, LIMIT, CHARS, 7) as first:  # 10 + 7 * 90
        assert (first.rollouts, first.records) == (7, True)
        assert admission.load == 0.64
        assert not admission.idle
        with admitted(admission, LIMIT, CHARS, 1) as second:  # 0.74
            assert (second.rollouts, second.records) == (1, False)
            with admitted(admission, LIMIT, CHARS, 4) as third:  # 1.11: a single one is 0.84
                assert (third.rollouts, third.records) == (1, False)
                with admitted(admission, LIMIT, CHARS, 1), pytest.raises(Overloaded):  # 0.94
                    admitted(admission, LIMIT, CHARS, 1).__enter__()
    assert admission.load == 0


def test_a_request_larger_than_everything_is_served_alone() -> None:
    admission = Admission(100, ServerMetrics())
    with admitted(admission, LIMIT, CHARS, 8) as ticket:
        assert (ticket.rollouts, ticket.records) == (8, True)
        with pytest.raises(Overloaded):
            admitted(admission, LIMIT, CHARS, 1).__enter__()
    assert admission.load == 0


def test_nothing_of_it_is_left_over() -> None:
    admission = Admission(1000, ServerMetrics())
    for tokens in (7, 11, 13, 90):
        with admitted(admission, tokens, 3, 3), admitted(admission, LIMIT, 5, 1):
            pass
    assert admission.load == 0
    with admitted(admission, LIMIT, CHARS, 64) as ticket:
        assert ticket.rollouts == 64


def test_expectations_follow_what_rollouts_turn_out_to_need() -> None:
    admission = Admission(10_000, ServerMetrics())
    for _ in range(200):
        admission.finished(tokens=4_000, rollouts=8)
    with admitted(admission, 1_000_000, 0, 1):
        # A limit far off says little: four times what is usual is kept free.
        assert admission.load == pytest.approx(0.2, rel=0.05)
    assert admission.cost(None, 0, 1).each == pytest.approx(500, rel=0.05)


def test_nobody_teaches_that_rollouts_are_free_or_that_there_is_never_room() -> None:
    admission = Admission(500_000, ServerMetrics())
    for _ in range(1_000):
        admission.finished(tokens=64, rollouts=64)
    assert [admission.cost(limit, 0, 1).each for limit in (None, 7, 4_096)] == [128, 7, 512]
    for _ in range(1_000):
        admission.finished(tokens=64 * 30_000, rollouts=64)
    assert [admission.cost(limit, 0, 1).each for limit in (None, 7, 9_999)] == [1_024, 7, 4_096]


def test_what_is_kept_from_ending_counts_whole() -> None:
    admission = Admission(500_000, ServerMetrics())
    cost = admission.cost(4_096, 0, 64, least=4_096)
    assert cost.total == 64 * 4_096
    with admission.admit(cost), admission.admit(cost) as second:
        assert second.rollouts == 1
        with pytest.raises(Overloaded):
            admission.admit(cost, whole=True).__enter__()  # no vote: all of it, or nothing
    assert admission.load == 0


def test_those_in_the_way_are_told_when_room_runs_out() -> None:
    told: list[float] = []
    admission = Admission(1000, ServerMetrics())
    admission.on_busy = lambda: told.append(admission.load)
    with admitted(admission, LIMIT, CHARS, 4):
        assert not told
        with admitted(admission, LIMIT, CHARS, 2):
            assert told == [pytest.approx(0.56)]


async def test_a_full_server_says_when_to_come_back() -> None:
    async with serving(capacity_tokens=100, rollouts=4) as api:
        with api.occupied(190):
            reply = await api.chat(max_tokens=90)
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "overloaded"
        assert int(reply.headers["retry-after-ms"]) == 1000 * int(reply.headers["retry-after"])
        assert (await api.chat()).status_code == 200


async def test_a_pressed_server_answers_with_one_rollout_and_records_nothing() -> None:
    async with serving(capacity_tokens=1000, rollouts=16) as api:
        with api.occupied(460):
            body = (await api.chat(max_tokens=90)).json()["ratchet"]
        assert (body["rollouts"], body["reason"]) == (1, "shed")
        assert b'ratchet_shed_total{what="rollouts"} 1.0' in api.parts.metrics.expose()


@pytest.mark.parametrize(
    ("fields", "each"),
    [
        ({"max_tokens": 4_096}, 512),
        ({"max_tokens": 4_096, "min_tokens": 4_000}, 4_000),
        ({"max_tokens": 4_096, "min_tokens": 9_000}, 4_096),
        ({"max_tokens": 4_096, "ignore_eos": True}, 4_096),
        ({"max_tokens": 4_096, "logit_bias": {"2": -100}}, 4_096),
        ({"max_tokens": 4_096, "allowed_token_ids": [5]}, 4_096),
        ({"max_completion_tokens": 4_096, "ignore_eos": True}, 4_096),
        ({"ignore_eos": True}, 32_768),
        ({"min_tokens": 700}, 700),
    ],
)
async def test_how_long_rollouts_are_taken_to_be(fields: dict[str, Any], each: int) -> None:
    async with serving() as api:
        request = ChatRequest.model_validate({"model": "ratchet", "messages": QUESTION, **fields})
        assert api.parts.completions.cost(request).each == each


async def test_everything_asked_for_counts() -> None:
    async with serving(rollouts=4) as api:
        cost = api.parts.completions.cost

        def chat(**fields: Any) -> Cost:
            body = {"model": "ratchet", "messages": QUESTION, "max_tokens": 10, **fields}
            return cost(ChatRequest.model_validate(body))

        def text(prompt: object, **fields: Any) -> Cost:
            body = {"model": "ratchet", "prompt": prompt, "max_tokens": 10, **fields}
            return cost(TextRequest.model_validate(body))

        assert (chat().rollouts, chat(n=3, ratchet={"rollouts": 1}).rollouts) == (4, 3)
        assert chat(ratchet={"strategy": "single"}, n=64).rollouts == 64
        assert text(["a", "b"]).rollouts == 8
        assert text(["a", "b"], echo=True, n=5).rollouts == 10
        assert text([[5] * 600, [6] * 400]).prompt == text([5] * 1_000).prompt == 1_000
        tool = {"type": "function", "function": {"name": "f", "description": "x" * 40_000}}
        assert chat(tools=[tool]).prompt > 10_000


async def test_a_reply_that_is_passed_through_is_not_cut() -> None:
    async with serving(capacity_tokens=1_000) as api:
        with api.occupied(500):
            reply = await api.chat(n=8, max_tokens=90, ratchet={"rollouts": 1})
        assert reply.status_code == 503
