"""One suite over every engine: the scripted one, and real vLLM."""

import math
from pathlib import Path

import pytest

from server.engine import EngineRefused, EngineUnavailable
from server.scripted_engine import ScriptedEngine
from server.vllm_engine import VllmEngine
from tests.waiting import free_port

MESSAGES = [{"role": "user", "content": "What is 12+34?"}]


@pytest.fixture(params=["scripted", pytest.param("vllm", marks=pytest.mark.integration)])
def engine(request):
    if request.param == "scripted":
        return ScriptedEngine(lambda _model, _messages, n: [rf"\boxed{{{i}}}" for i in range(n)])
    live = request.getfixturevalue("live")
    return VllmEngine(f"http://127.0.0.1:{live.engine_port}", "base", 60.0)


async def test_a_sample_has_every_rollout_with_matching_tokens(engine) -> None:
    sample = await engine.sample("base", MESSAGES, {"n": 5, "temperature": 1.0, "max_tokens": 48})
    assert len(sample.rollouts) == len(sample.choices) == 5
    assert len(sample.prompt_ids) >= 1
    for index, (rollout, choice) in enumerate(zip(sample.rollouts, sample.choices, strict=True)):
        assert choice["index"] == index
        assert choice["message"]["content"] == rollout.text
        assert len(rollout.token_ids) == len(rollout.logprobs) > 0
        assert all(math.isfinite(p) and p <= 0 for p in rollout.logprobs)
        assert rollout.finish_reason in ("stop", "length")
    await engine.close()


async def test_a_completion_and_its_stream(engine) -> None:
    body = {"model": "base", "messages": MESSAGES, "max_tokens": 48, "temperature": 0.0}
    completion = await engine.complete(body)
    assert completion["object"] == "chat.completion"
    assert completion["usage"]["completion_tokens"] > 0
    async with engine.stream({**body, "stream": True}) as chunks:
        streamed = [chunk async for chunk in chunks]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in streamed)
    assert text == completion["choices"][0]["message"]["content"]
    assert streamed[-1]["choices"][0]["finish_reason"] == "stop"
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
        await engine.sample("nobody", MESSAGES, {"n": 1})
    assert refused.value.status == 404
    await engine.close()


async def test_forgetting_what_was_never_loaded_is_harmless(engine) -> None:
    await engine.unload("v99-never")
    await engine.close()


@pytest.mark.integration
async def test_vllm_refuses_what_it_cannot_do(live, tmp_path: Path) -> None:
    engine = VllmEngine(f"http://127.0.0.1:{live.engine_port}", "base", 60.0)
    with pytest.raises(EngineRefused):
        await engine.load("v1-nothing", str(tmp_path))
    long = [{"role": "user", "content": "1+" * 500}]
    with pytest.raises(EngineRefused) as refused:
        await engine.sample("base", long, {"n": 1})
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    await engine.close()


async def test_nobody_there() -> None:
    engine = VllmEngine(f"http://127.0.0.1:{free_port()}", "base", 5.0)
    with pytest.raises(EngineUnavailable):
        await engine.probe()
    await engine.close()
