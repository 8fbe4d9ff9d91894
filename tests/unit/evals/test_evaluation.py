"""The evaluation protocol over HTTP, against an endpoint that is somebody else's."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from openai import AsyncOpenAI

from evals.evaluation import EndpointFailed, Evaluator, Graded, Protocol
from evals.items import Item
from rewards.answers.math_answers import MathAnswers
from tests.endpoint import Endpoint

ITEMS = [Item(f"q{n}", f"What is {n}+0?", str(n), f"L{n % 2}") for n in range(6)]


def mostly_right(prompt: str, index: int) -> str:
    """Three of four rollouts are right; one says nothing."""
    number = prompt.split()[2].partition("+")[0]
    return "I do not know" if index % 4 == 3 else f"so \\boxed{{{number}}}"


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint(mostly_right).running() as running:
        yield running


async def graded(endpoint: Endpoint, protocol: Protocol, items=ITEMS, done=()) -> list[Graded]:
    found: list[Graded] = []
    async with AsyncOpenAI(base_url=endpoint.url, api_key="k", max_retries=0) as client:
        evaluator = Evaluator(client, "theirs", protocol, MathAnswers())
        try:
            await evaluator.run(items, found.append, done)
        except EndpointFailed as stopped:
            stopped.add_note(str(len(found)))
            raise
    return found


async def test_every_question_is_graded(endpoint: Endpoint) -> None:
    found = await graded(endpoint, Protocol(n=8, max_tokens=99))
    assert sorted(one.id for one in found) == [item.id for item in ITEMS]
    for one in found:
        assert (one.avg, one.maj, one.passed(8), one.tokens) == (0.75, 1.0, 1.0, 10.0)
        assert one.answers[3] is None and one.level == f"L{int(one.id[1:]) % 2}"


async def test_only_prompt_and_sampling_go_over_the_wire(endpoint: Endpoint) -> None:
    await graded(endpoint, Protocol(n=4, max_tokens=99), ITEMS[:1])
    assert endpoint.bodies == [
        {
            "model": "theirs", "messages": [{"role": "user", "content": "What is 0+0?"}], "n": 4,
            "temperature": 0.6, "top_p": 0.95, "max_tokens": 99,
        }
    ]  # fmt: skip


async def test_rollouts_can_be_asked_for_in_parts(endpoint: Endpoint) -> None:
    (one,) = await graded(endpoint, Protocol(n=5, per_request=2), ITEMS[:1])
    assert [body["n"] for body in endpoint.bodies] == [2, 2, 1]
    assert len(one.answers) == 5


async def test_what_is_done_is_not_asked_again(endpoint: Endpoint) -> None:
    found = await graded(endpoint, Protocol(n=1), done=["q0", "q1", "q2", "q3"])
    assert sorted(one.id for one in found) == ["q4", "q5"]
    assert len(endpoint.bodies) == 2


async def test_no_more_at_once_than_wanted(endpoint: Endpoint) -> None:
    gate = asyncio.Barrier(3)

    async def together(_: object) -> None:
        await gate.wait()  # passes only if three requests are there

    endpoint.before = together  # type: ignore[method-assign, assignment]
    await graded(endpoint, Protocol(n=1, concurrency=3))
    assert endpoint.most_at_once == 3


async def test_what_was_cut_short_has_no_answer(endpoint: Endpoint) -> None:
    endpoint.finish = "length"
    (one,) = await graded(endpoint, Protocol(n=4), ITEMS[:1])
    assert list(one.answers) == [None] * 4
    assert (one.avg, one.maj) == (0.0, 0.0)


@pytest.mark.parametrize("finish", ["eos_token", "stop_sequence", "END_TURN"])
async def test_other_words_for_a_whole_rollout_are_known(endpoint: Endpoint, finish: str) -> None:
    endpoint.finish = finish
    (one,) = await graded(endpoint, Protocol(n=4), ITEMS[:1])
    assert one.avg == 0.75


async def test_an_end_that_nobody_knows_is_told(endpoint: Endpoint) -> None:
    endpoint.finish = "because"
    with pytest.raises(EndpointFailed, match="finish_reason 'because', which says neither"):
        await graded(endpoint, Protocol(n=4), ITEMS[:1])


@pytest.mark.parametrize("status", [404, 405])
async def test_an_endpoint_without_a_list_of_models_is_evaluated(endpoint, status: int) -> None:
    endpoint.models_status = status
    (one,) = await graded(endpoint, Protocol(n=4), ITEMS[:1])
    assert one.avg == 0.75
    assert "ratchet" not in endpoint.bodies[0]


def refusing(status: int, message: str):
    async def before(_: object) -> web.Response:
        return web.json_response({"error": {"message": message}}, status=status)

    return before


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "no model 'theirs' at the endpoint: set --model"),
        (401, "set OPENAI_API_KEY"),
        (400, "400: .*max_tokens is too large"),
        (500, "the endpoint says 500"),
    ],
)
async def test_a_refusal_is_explained(endpoint: Endpoint, status: int, said: str) -> None:
    endpoint.before = refusing(status, "max_tokens is too large")  # type: ignore[method-assign]
    with pytest.raises(EndpointFailed, match=said):
        await graded(endpoint, Protocol(n=1))


async def test_an_endpoint_that_dies_half_way_leaves_what_was_graded(endpoint: Endpoint) -> None:
    async def dies(_: object) -> web.Response | None:
        if len(endpoint.bodies) < 4:
            return None
        raise asyncio.CancelledError  # aiohttp closes the connection without a reply

    endpoint.before = dies  # type: ignore[method-assign]
    with pytest.raises(EndpointFailed, match="does not answer") as found:
        await graded(endpoint, Protocol(n=1, concurrency=1))
    assert found.value.__notes__ == ["3"]


async def test_no_endpoint_at_all() -> None:
    nowhere = Endpoint(mostly_right)
    nowhere.url = "http://127.0.0.1:9/v1"
    with pytest.raises(EndpointFailed, match="does not answer"):
        await graded(nowhere, Protocol(n=1))


async def test_too_few_choices_are_noticed(endpoint: Endpoint) -> None:
    async def one_at_a_time(body: dict) -> None:
        body["n"] = 1

    endpoint.before = one_at_a_time  # type: ignore[method-assign, assignment]
    with pytest.raises(EndpointFailed, match=r"gave 1 choices where n=4 .* --per-request 1"):
        await graded(endpoint, Protocol(n=4))
    assert len(await graded(endpoint, Protocol(n=4, per_request=1))) == 6
