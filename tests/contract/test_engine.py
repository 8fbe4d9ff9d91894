"""One suite over every engine: the scripted one, and real vLLM."""

import math
from pathlib import Path

import orjson
import pytest

from server.engine.base import (
    EngineRefused,
    EngineRequest,
    EngineUnavailable,
    Names,
    Service,
    draw_all,
    is_chat,
)
from server.engine.scripted import ScriptedEngine
from server.engine.vllm import VllmEngine
from tests.ports import free_port

MESSAGES = [{"role": "user", "content": "What is 12+34?"}]
PROMPTS = [MESSAGES, "12+34=", [5, 6, 7]]


VLLM = pytest.param(
    "vllm", marks=[pytest.mark.integration, pytest.mark.needs("libnuma"), pytest.mark.lane("live")]
)


@pytest.fixture(params=["scripted", VLLM])
def engine(request):
    if request.param == "scripted":
        return ScriptedEngine(lambda _model, _messages, n: [rf"\boxed{{{i}}}" for i in range(n)])
    live = request.getfixturevalue("live")
    return VllmEngine(f"http://127.0.0.1:{live.engine_port}", "base", 60.0)


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_draws_have_matching_tokens(engine, prompt) -> None:
    draws = await draw_all(
        engine,
        EngineRequest(
            "base", prompt, {"n": 5, "temperature": 1.0, "max_tokens": 48, "top_logprobs": 2}
        ),
    )
    assert [draw.index for draw in draws] == list(range(5))
    for draw in draws:
        rollout, choice = draw.rollout, draw.choice
        assert draw.prompt_ids == draws[0].prompt_ids
        assert len(draw.prompt_ids) >= 1
        message = choice.get("message") or {}
        written = message["content"] if is_chat(prompt) else choice["text"]
        assert written == rollout.text
        assert len(rollout.token_ids) == len(rollout.logprobs) > 0
        assert all(math.isfinite(p) and p <= 0 for p in rollout.logprobs)
        assert rollout.finish_reason == choice["finish_reason"] in ("stop", "length")
        for field, values in choice["logprobs"].items():
            assert len(values) == len(rollout.token_ids), field
        assert len(draw.top_logprobs) == len(rollout.token_ids)
        assert all(len(tops) >= 2 and max(tops) <= 0 for tops in draw.top_logprobs)
    await engine.close()


@pytest.mark.parametrize("prompt", [MESSAGES, "12+34="])
@pytest.mark.parametrize("extra", [{}, {"logprobs": False}, {"logprobs": True}])
async def test_how_much_is_told_of_tokens_does_not_change_them(engine, prompt, extra) -> None:
    options = {"n": 3, "temperature": 1.0, "max_tokens": 48, "seed": 7}
    told = await draw_all(engine, EngineRequest("base", prompt, {**options, "top_logprobs": 1}))
    less = await draw_all(engine, EngineRequest("base", prompt, {**options, **extra}))
    assert [list(d.rollout.token_ids) for d in less] == [list(d.rollout.token_ids) for d in told]
    assert [d.rollout.text for d in less] == [d.rollout.text for d in told]
    if extra.get("logprobs", True):
        for one, other in zip(less, told, strict=True):
            assert list(one.rollout.logprobs) == pytest.approx(list(other.rollout.logprobs))
    await engine.close()


async def test_a_draw_can_be_left_early(engine) -> None:
    options = {"n": 8, "temperature": 1.0, "max_tokens": 48}
    async with engine.draw(EngineRequest("base", MESSAGES, options)) as batches:
        first = await anext(batches)
    assert 1 <= len(first) <= 8
    await engine.probe()
    await engine.close()


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_completion_and_its_stream(engine, prompt) -> None:
    request = EngineRequest("base", prompt, {"max_tokens": 48, "temperature": 0.0}, seconds=60.0)
    completion = await engine.complete(request)
    assert completion["usage"]["completion_tokens"] > 0
    async with engine.stream(request, Names("ours", "ratchet")) as batches:
        events = [event async for batch in batches for event in batch]
    chunks = [orjson.loads(event.data) for event in events]
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("ours", "ratchet")}
    assert [event.ends for event in events] == [False] * (len(events) - 1) + [True]
    [choice] = completion["choices"]
    pieces = [c["choices"][0] for c in chunks]
    if not is_chat(prompt):
        assert completion["object"] == "text_completion"
        assert "".join(piece["text"] for piece in pieces) == choice["text"]
    else:
        assert completion["object"] == "chat.completion"
        text = "".join(piece["delta"].get("content") or "" for piece in pieces)
        assert text == choice["message"]["content"]
    assert pieces[-1]["finish_reason"] == choice["finish_reason"]
    await engine.close()


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_rollout_can_be_watched_while_it_is_written(engine, prompt) -> None:
    options = {"max_tokens": 48, "temperature": 1.0, "top_logprobs": 2}
    async with engine.write(EngineRequest("base", prompt, options, seconds=60.0)) as batches:
        pieces = [piece async for batch in batches for piece in batch]
    *parts, last = pieces
    assert all(part.draw is None for part in parts)
    assert last.draw is not None
    written = "".join(
        piece.choice["delta"].get("content") or "" if is_chat(prompt) else piece.choice["text"]
        for piece in pieces
    )
    assert written == last.draw.rollout.text
    assert last.choice["finish_reason"] == last.draw.rollout.finish_reason
    assert not any("token_ids" in piece.choice for piece in pieces)
    await engine.close()


async def test_several_prompts_of_one_completion(engine) -> None:
    options = {"max_tokens": 4, "temperature": 1.0, "n": 2}
    completion = await engine.complete(EngineRequest("base", ["1+1=", "2+2="], options))
    assert [choice["index"] for choice in completion["choices"]] == [0, 1, 2, 3]
    await engine.close()


async def test_text_becomes_tokens_and_they_text(engine) -> None:
    asked = EngineRequest("base", "", {"prompt": "12+34="})
    reply = await engine.serve(Service.TOKENIZE, asked)
    assert reply["count"] == len(reply["tokens"]) > 0
    asked = EngineRequest("base", "", {"tokens": reply["tokens"]})
    assert "12+34=" in (await engine.serve(Service.DETOKENIZE, asked))["prompt"]
    await engine.close()


async def test_scores_have_one_number_for_each_token_after_the_first(engine) -> None:
    scores = await engine.score("base", [5, 6, 7, 8])
    assert len(scores) == 3
    assert all(math.isfinite(score) and score <= 0 for score in scores)
    await engine.close()


async def test_it_is_alive_and_lists_its_models(engine) -> None:
    await engine.probe()
    assert "base" in await engine.models()
    await engine.close()


async def test_an_unknown_model_is_refused(engine) -> None:
    with pytest.raises(EngineRefused) as refused:
        await draw_all(engine, EngineRequest("nobody", MESSAGES, {"n": 1}))
    assert refused.value.status == 404
    await engine.close()


async def test_forgetting_what_was_never_loaded_is_harmless(engine) -> None:
    await engine.unload("v99-never")
    await engine.close()


@pytest.mark.integration
@pytest.mark.lane("live")
async def test_vllm_refuses_what_it_cannot_do(live, tmp_path: Path) -> None:
    engine = VllmEngine(f"http://127.0.0.1:{live.engine_port}", "base", 60.0)
    with pytest.raises(EngineRefused):
        await engine.load("v1-nothing", str(tmp_path))
    with pytest.raises(EngineRefused, match="offers no embeddings"):
        await engine.serve(Service.EMBEDDINGS, EngineRequest("base", "", {"input": "a"}))
    long = [{"role": "user", "content": "1+" * 500}]
    with pytest.raises(EngineRefused) as refused:
        await draw_all(engine, EngineRequest("base", long, {"n": 1}))
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    await engine.close()


async def test_nobody_there() -> None:
    engine = VllmEngine(f"http://127.0.0.1:{free_port()}", "base", 5.0)
    with pytest.raises(EngineUnavailable):
        await engine.probe()
    await engine.close()
