"""The engine on transformers: the product's own client sees vLLM in it, weights and all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from aiohttp.test_utils import TestServer
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from evals.arithmetic.rollouts import MODEL
from loadtests.hosts.engine import Model, Routes
from server.engine.base import EngineRefused, EngineRequest, draw_all
from server.engine.vllm import VllmEngine

NAME = "v1-abcdefabcdef"
QUESTION = [{"role": "user", "content": "What is 12 + 7?"}]
TOKENS = [5, 9, 17, 3, 8]


@pytest.fixture
async def engine() -> AsyncIterator[VllmEngine]:
    async with TestServer(Routes(Model()).app()) as server:
        engine = VllmEngine(str(server.make_url("")), "", 30.0)
        yield engine
        await engine.close()


@pytest.fixture
def adapter(tmp_path: Path) -> PeftModel:
    """A saved adapter that changes the model, in `tmp_path`."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(MODEL)
    config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(base, config)
    model.save_pretrained(str(tmp_path))
    return model.eval()


@torch.inference_mode()
def scores(model: PeftModel) -> list[float]:
    rows = model(input_ids=torch.tensor([TOKENS])).logits[0, :-1].log_softmax(dim=-1)
    return rows.gather(1, torch.tensor(TOKENS[1:])[:, None])[:, 0].tolist()


async def test_rollouts_have_tokens_and_log_probabilities(engine: VllmEngine) -> None:
    await engine.probe()
    draws = await draw_all(engine, EngineRequest("base", QUESTION, {"n": 3, "max_tokens": 40}))
    assert [draw.index for draw in draws] == [0, 1, 2]
    for draw in draws:
        assert draw.rollout.finish_reason == "stop"
        assert "\\boxed{" in draw.rollout.text
        assert len(draw.rollout.token_ids) == len(draw.rollout.logprobs) > 5
        assert len(draw.prompt_ids) > 5


async def test_an_adapter_is_loaded_scored_and_forgotten(
    engine: VllmEngine, adapter: PeftModel, tmp_path: Path
) -> None:
    before = await engine.score("base", TOKENS)
    await engine.load(NAME, str(tmp_path))
    assert await engine.models() == ["base", NAME]
    assert await engine.score(NAME, TOKENS) == pytest.approx(scores(adapter), abs=1e-4)
    with adapter.disable_adapter():
        assert before == pytest.approx(scores(adapter), abs=1e-4)
    assert await engine.score("base", TOKENS) == pytest.approx(before, abs=1e-5)
    await engine.unload(NAME)
    assert await engine.models() == ["base"]
    with pytest.raises(EngineRefused) as refused:
        await engine.score(NAME, TOKENS)
    assert refused.value.status == 404


async def test_what_was_forgotten_can_be_loaded_again(
    engine: VllmEngine, adapter: PeftModel, tmp_path: Path
) -> None:
    for _ in range(2):
        await engine.load(NAME, str(tmp_path))
        assert await engine.score(NAME, TOKENS) == pytest.approx(scores(adapter), abs=1e-4)
        await engine.unload(NAME)
