"""Text completions: prompts of every form, several at once, whole and streamed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.engine.base import EngineUnavailable
from tests.serving import Api, events_of, serving, until

ANSWERS = {"one": r"\boxed{1}", "two": r"\boxed{2}"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        made.engine.script = lambda _m, prompt, n: [ANSWERS.get(str(prompt), r"\boxed{4}")] * n
        yield made


async def test_token_ids_are_a_prompt(api: Api) -> None:
    for prompt in ([5, 6, 7], [[5, 6, 7]]):
        reply = (await api.text(prompt=prompt, max_tokens=8)).json()
        assert (reply["choices"][0]["text"], reply["ratchet"]["answer"]) == (r"\boxed{4}", "4")
    assert [asked["prompt"] for asked in api.engine.requests] == [[5, 6, 7]] * 2
    assert await api.recorded() == 2
    [delivery, _] = await api.parts.buffer.read(2, 0.0)
    assert delivery.group is not None
    assert delivery.group.prompt == "[5,6,7]"


async def test_each_of_several_prompts_has_a_vote(api: Api) -> None:
    reply = (await api.text(prompt=["one", "two"], n=2)).json()
    found = [(choice["index"], choice["text"]) for choice in reply["choices"]]
    one, two = ANSWERS.values()
    assert found == [(0, one), (1, one), (2, two), (3, two)]
    whole = reply["ratchet"]
    assert (whole["strategy"], whole["rollouts"], whole["valid"]) == ("majority", 8, 8)
    assert (whole["answer"], whole["policy_version"], whole["recorded"]) == (None, 0, True)
    assert [vote["answer"] for vote in whole["votes"]] == ["1", "2"]
    assert reply["usage"] == {
        "prompt_tokens": 2, "completion_tokens": 8 * len(one), "total_tokens": 2 + 8 * len(one),
    }  # fmt: skip
    assert await api.recorded() == 2
    given = {"completion_id": whole["votes"][1]["completion_id"], "label": "2"}
    feedback = (await api.client.post("/v1/feedback", json=given)).json()
    assert (feedback["correct"], feedback["counted"]) == (True, True)
    assert api.at_rest


async def test_several_prompts_stream_as_their_votes_end(api: Api) -> None:
    reply = await api.text(
        prompt=[[1], [2]], n=2, stream=True, stream_options={"include_usage": True}
    )
    *chunks, usage, done = events_of(reply.text)
    texts: dict[int, str] = {}
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert texts == dict.fromkeys(range(4), r"\boxed{4}")
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [c["ratchet"]["answer"] for c in chunks if "ratchet" in c] == ["4", "4"]
    assert usage["usage"]["completion_tokens"] == 8 * len(r"\boxed{4}")
    assert done == "[DONE]"


async def test_several_prompts_that_pass_through_go_as_one_request(api: Api) -> None:
    reply = (await api.text(prompt=["one", "two"], ratchet={"rollouts": 1})).json()
    assert [choice["text"] for choice in reply["choices"]] == list(ANSWERS.values())
    assert reply["ratchet"]["rollouts"] == 2
    [asked] = api.engine.requests
    assert asked["prompt"] == ["one", "two"]


@pytest.mark.parametrize("prompt", ["12+34=", [[5, 6, 7]], [[5, 6], [7]], ["a", "b"]])
async def test_log_likelihoods_are_asked_of_the_engine(api: Api, prompt: Any) -> None:
    body = {"prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
    assert (await api.text(**body)).json()["ratchet"]["strategy"] == "single"
    [asked] = api.engine.requests
    assert (asked["max_tokens"], asked["echo"], asked["logprobs"]) == (0, True, 1)
    assert asked["prompt"] == ([5, 6, 7] if prompt == [[5, 6, 7]] else prompt)


async def test_an_empty_prompt_is_for_the_engine_to_take(api: Api) -> None:
    assert (await api.text(prompt="")).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_one_prompt_that_fails_fails_all(api: Api, stream: bool) -> None:
    api.hold_back(*range(4))
    answering = asyncio.create_task(api.text(prompt=["one", "two"], stream=stream))
    await until(lambda: api.engine.under_way == 2)
    api.engine.fault = EngineUnavailable("gone")
    api.let_go(*range(4))
    reply = await answering
    assert reply.status_code == 503
    await until(lambda: api.at_rest)


@pytest.mark.parametrize("shown", ["first", "progress"])
async def test_several_prompts_always_wait_for_their_votes(api: Api, shown: str) -> None:
    reply = await api.text(prompt=["a", "b"], stream=True, ratchet={"stream": shown})
    chunks = events_of(reply.text)[:-1]
    assert [c["ratchet"]["answer"] for c in chunks if "ratchet" in c] == ["4", "4"]


async def test_no_vote_is_begun_where_there_is_no_room_for_all() -> None:
    async with serving(capacity_tokens=1_000) as api:
        api.hold_back(0)
        asked = {"prompt": ["a"] * 40, "max_tokens": 100}
        reply = await api.text(**asked)
        assert reply.status_code == 503
        await until(lambda: api.at_rest)
