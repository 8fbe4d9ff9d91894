"""What is given up first as the engine fills."""

import pytest

from server.api.errors import Overloaded
from server.metrics import ServerMetrics
from server.vote.admission import Admission
from tests.serving import serving

CHARS, LIMIT = 40, 90  # ten tokens in, ninety out


def test_recording_then_rollouts_then_requests() -> None:
    admission = Admission(1000, ServerMetrics())
    with admission.admit(LIMIT, CHARS, 7) as first:  # 10 + 7 * 90
        assert (first.rollouts, first.records) == (7, True)
        assert admission.load == 0.64
        assert not admission.idle
        with admission.admit(LIMIT, CHARS, 1) as second:  # 0.74
            assert (second.rollouts, second.records) == (1, False)
            with admission.admit(LIMIT, CHARS, 4) as third:  # 1.11: a single one is 0.84
                assert (third.rollouts, third.records) == (1, False)
                with admission.admit(LIMIT, CHARS, 1), pytest.raises(Overloaded):  # 0.94
                    admission.admit(LIMIT, CHARS, 1).__enter__()
    assert admission.load == 0


def test_a_request_larger_than_everything_is_served_alone() -> None:
    admission = Admission(100, ServerMetrics())
    with admission.admit(LIMIT, CHARS, 8) as ticket:
        assert (ticket.rollouts, ticket.records) == (8, True)
        with pytest.raises(Overloaded):
            admission.admit(LIMIT, CHARS, 1).__enter__()
    assert admission.load == 0


def test_nothing_of_it_is_left_over() -> None:
    admission = Admission(1000, ServerMetrics())
    for tokens in (7, 11, 13, 90):
        with admission.admit(tokens, 3, 3), admission.admit(LIMIT, 5, 1):
            pass
    assert admission.load == 0
    with admission.admit(LIMIT, CHARS, 64) as ticket:
        assert ticket.rollouts == 64


def test_expectations_follow_what_rollouts_turn_out_to_need() -> None:
    admission = Admission(10_000, ServerMetrics())
    for _ in range(200):
        admission.finished(tokens=80, rollouts=8)
    with admission.admit(1_000_000, 0, 1):
        # A limit far off says little: four times what is usual is kept free.
        assert admission.load == pytest.approx(0.004, rel=0.05)


def test_those_in_the_way_are_told_when_room_runs_out() -> None:
    told: list[float] = []
    admission = Admission(1000, ServerMetrics())
    admission.on_busy = lambda: told.append(admission.load)
    with admission.admit(LIMIT, CHARS, 4):
        assert not told
        with admission.admit(LIMIT, CHARS, 2):
            assert told == [pytest.approx(0.56)]


async def test_a_full_server_says_when_to_come_back() -> None:
    async with serving(capacity_tokens=100, rollouts=4) as api:
        with api.parts.admission.admit(LIMIT, 400, 1):
            reply = await api.chat(max_tokens=90)
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "overloaded"
        assert int(reply.headers["retry-after-ms"]) == 1000 * int(reply.headers["retry-after"])
        assert (await api.chat()).status_code == 200


async def test_a_pressed_server_answers_with_one_rollout_and_records_nothing() -> None:
    async with serving(capacity_tokens=1000, rollouts=16) as api:
        with api.parts.admission.admit(LIMIT, CHARS, 5):
            body = (await api.chat(max_tokens=90)).json()["ratchet"]
        assert (body["rollouts"], body["reason"]) == (1, "shed")
        assert b'ratchet_shed_total{what="rollouts"} 1.0' in api.parts.metrics.expose()
