"""The HTTP surface over a scripted engine: replies, errors, and what is recorded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapter.store.buffer import BufferUnavailable
from adapter.store.memory_buffer import MemoryBuffer
from rewards.token_signals import entropy_estimate
from server.engine.base import EngineFailed, EngineReplyInvalid, EngineTimeout, EngineUnavailable
from tests.serving import PROSE, TEXTS, Api, events_of, serving, until


async def test_a_voted_reply(api: Api) -> None:
    reply = await api.chat()
    body = reply.json()
    assert reply.status_code == 200
    [choice] = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": r"\boxed{4}"}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert body["ratchet"] == {
        "strategy": "majority", "kind": "math", "rollouts": 4, "valid": 3, "answer": "4",
        "agreement": 0.5,
        "distribution": {"4": 0.5, "5": 0.25}, "policy_version": 0, "recorded": True,
        "reason": None,
    }  # fmt: skip
    assert body["usage"]["completion_tokens"] == sum(map(len, TEXTS))
    assert reply.headers["x-request-id"].startswith("req_")
    assert float(reply.headers["x-ratchet-overhead-ms"]) >= 0
    assert await api.recorded() == 1


async def test_n_returns_the_best_voted_choices_first(api: Api) -> None:
    body = (await api.chat(n=3)).json()
    contents = [choice["message"]["content"] for choice in body["choices"]]
    assert contents == [TEXTS[0], TEXTS[2], TEXTS[1]]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


async def test_voting_has_its_own_temperature_and_seed(api: Api) -> None:
    await api.chat(temperature=0, seed=1)
    await api.chat(temperature=0, seed=1, messages=[{"role": "user", "content": "other"}])
    first, second = api.engine.requests
    assert first["temperature"] == second["temperature"] == 1.0
    assert first["seed"] not in (1, second["seed"])
    assert first["n"] == 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"store": False}, "opted_out"),
        ({"ratchet": {"train": False}}, "opted_out"),
        ({"model": "ratchet@base"}, "pinned_version"),
        ({"top_p": 0.9}, "truncated_sampling"),
        ({"ratchet": {"rollouts": 1}}, "single"),
        ({"ratchet": {"strategy": "single"}}, "single"),
        ({"structured_outputs": {"regex": ".*"}}, "grammar"),
    ],
)
async def test_what_stays_out_of_the_buffer(api: Api, body: dict[str, Any], reason: str) -> None:
    extension = (await api.chat(**body)).json()["ratchet"]
    assert (extension["recorded"], extension["reason"]) == (False, reason)
    assert await api.recorded() == 0


async def test_a_chat_without_checkable_answer_gets_one_good_rollout(api: Api) -> None:
    api.engine.script = lambda _m, _q, n: [PROSE] * n
    body = (await api.chat()).json()
    assert body["choices"][0]["message"]["content"] == PROSE
    assert body["ratchet"]["reason"] == "medoid"
    asked = (await api.chat(ratchet={"answer": "math"})).json()["ratchet"]
    assert (asked["answer"], asked["reason"]) == (None, "no_answer")


async def test_a_voted_stream(api: Api) -> None:
    reply = await api.chat(stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events_of(reply.text)
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == r"\boxed{4}"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["ratchet"]["answer"] == "4"
    assert (usage["choices"], usage["usage"]["prompt_tokens"]) == ([], 1)
    assert done == "[DONE]"
    assert await api.recorded() == 1


async def test_a_single_stream_passes_tokens_through(api: Api) -> None:
    reply = await api.chat(stream=True, ratchet={"rollouts": 1})
    *chunks, done = events_of(reply.text)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == TEXTS[0]
    assert len(chunks) == len(TEXTS[0]) + 2
    assert {chunk["model"] for chunk in chunks} == {"ratchet"}
    assert chunks[-1]["ratchet"]["strategy"] == "single"
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ({"n": 0}, "n"),
        ({"n": "8"}, "n"),
        ({"n": True}, "n"),
        ({"n": 1e308}, "n"),
        ({"n": 2**31}, "n"),
        ({"n": 65}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"ratchet": {"rollouts": 0}}, "ratchet.rollouts"),
        ({"ratchet": {"rollouts": 65}}, "ratchet.rollouts"),
        ({"ratchet": {"rollouts": 2**40}}, "ratchet.rollouts"),
        ({"ratchet": {"colour": 1}}, "ratchet.colour"),
        ({"colour": "red"}, "colour"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ],
)
async def test_a_client_s_mistake_is_a_400_that_names_the_field(
    api: Api, body: dict[str, Any], param: str
) -> None:
    reply = await api.chat(**body)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
    assert api.engine.requests == []


@pytest.mark.parametrize("model", ["gpt-4", "ratchet@v3", "base", "", "v1-abc", "../x"])
async def test_an_unknown_model_is_a_404(api: Api, model: str) -> None:
    reply = await api.chat(model=model)
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000,
     b'{"model":"ratchet","messages":[{"role":"user","content":"\\ud800"}]}'],
)  # fmt: skip
async def test_malformed_bodies_are_a_400(api: Api, content: bytes) -> None:
    reply = await api.client.post("/v1/chat/completions", content=content)
    assert reply.status_code == 400
    assert "error" in reply.json()


async def test_a_body_over_the_limit_is_a_413() -> None:
    async with serving(max_body_bytes=1000) as api:
        reply = await api.client.post("/v1/chat/completions", content=b"x" * 1001)
        assert reply.status_code == 413

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        reply = await api.client.post("/v1/chat/completions", content=pieces())
        assert reply.status_code == 413


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (EngineUnavailable("x"), 503),
        (EngineTimeout("x"), 504),
        (EngineReplyInvalid("x"), 502),
        (EngineFailed("x"), 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_engine_faults(api: Api, fault: Any, status: int, stream: bool) -> None:
    api.engine.fault = fault
    reply = await api.chat(stream=stream)
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == "server_error"
    assert ("retry-after" in reply.headers) == (status == 503)
    assert ("retry-after-ms" in reply.headers) == (status == 503)
    assert api.parts.policy.held == 0
    assert await api.recorded() == 0


async def test_a_fault_in_mid_stream_is_an_error_event_and_never_done(api: Api) -> None:
    api.hold_back(0)
    answering = asyncio.create_task(api.chat(stream=True, ratchet={"rollouts": 1}))
    await until(lambda: api.engine.under_way)
    api.engine.fault = EngineUnavailable("gone")
    api.let_go(0)
    events = events_of((await answering).text)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[-1]["error"]["code"] == "engine_unavailable"
    assert "[DONE]" not in events
    assert api.parts.policy.held == 0


class AbsentBuffer(MemoryBuffer):
    """A buffer whose server is away until `back` is set."""

    back = False

    async def append(self, group):
        if not self.back:
            raise BufferUnavailable("away")
        return await super().append(group)

    async def state(self):
        if not self.back:
            raise BufferUnavailable("away")
        return await super().state()


async def test_answers_go_on_without_redis() -> None:
    async with serving(AbsentBuffer()) as api:
        body = (await api.chat()).json()
        assert body["choices"][0]["message"]["content"] == r"\boxed{4}"
        assert (body["ratchet"]["recorded"], body["ratchet"]["reason"]) == (
            False, "buffer_unavailable",
        )  # fmt: skip
        text = (await api.client.get("/metrics")).text
        assert 'ratchet_groups_offered_total{outcome="buffer_unavailable"} 1.0' in text


async def test_models_list_names_versions(api: Api) -> None:
    api.parts.policy.add(3, "v3-abc")
    api.parts.policy.switch(3)
    cards = (await api.client.get("/v1/models")).json()["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [
        ("ratchet", "ratchet@v3"),
        ("ratchet@base", None),
        ("ratchet@v3", "ratchet@base"),
    ]


async def test_health(api: Api) -> None:
    assert (await api.client.get("/livez")).status_code == 200
    assert (await api.client.get("/readyz")).status_code == 200
    assert (await api.client.get("/nowhere")).status_code == 404
    assert (await api.client.get("/v1/chat/completions")).status_code == 405
    assert "ratchet_requests_total" in (await api.client.get("/metrics")).text


async def test_top_logprobs_are_recorded_as_entropies_and_not_sent_unasked() -> None:
    buffer = MemoryBuffer()
    async with serving(buffer, record_top_logprobs=2, vocab_size=100) as api:
        body = (await api.chat(logprobs=True)).json()
        assert body["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
        body = (await api.chat(logprobs=True, top_logprobs=1)).json()
        assert len(body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 1
        assert await api.recorded() == 2
        group = (await buffer.read(1, 1.0))[0].group
    assert group is not None
    expected = pytest.approx(entropy_estimate([-0.1, -3.0], 100))
    assert [rollout.entropy for rollout in group.rollouts] == [expected] * 4


async def test_nothing_is_recorded_of_entropies_by_default() -> None:
    buffer = MemoryBuffer()
    async with serving(buffer) as api:
        await api.chat()
        assert await api.recorded() == 1
        group = (await buffer.read(1, 1.0))[0].group
    assert group is not None
    assert {rollout.entropy for rollout in group.rollouts} == {None}


@pytest.mark.parametrize(
    "bent",
    [{"presence_penalty": 0.5}, {"logit_bias": {"5": 3}}, {"repetition_penalty": 1.1},
     {"ignore_eos": True}, {"min_tokens": 4}],
)  # fmt: skip
async def test_what_was_not_drawn_from_the_model_itself_is_not_trained(
    api: Api, bent: dict[str, Any]
) -> None:
    assert (await api.chat(**bent)).json()["ratchet"]["reason"] == "altered_sampling"
    assert await api.recorded() == 0


async def test_a_background_task_that_fails_ends_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MemoryBuffer, "append", broken)
    async with serving() as api:
        assert (await api.chat()).status_code == 200
        async with asyncio.timeout(2.0):
            await api.parts.failed.wait()
