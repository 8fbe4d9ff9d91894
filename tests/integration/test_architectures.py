"""Qwen2, Qwen3, Llama and Mistral, tiny and random: trained, saved, loaded by vLLM, in parity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from adapter.settings import AdapterSettings
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.token_scores import PromptBatch, TokenSequence, score_tokens
from evals.arithmetic.rollouts import MODEL
from loadtests.gate_bench import Judge
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from server.engine.base import EngineRequest, draw_all
from server.promotion.parity import probe_parity
from tests.engines import running_engine

WINDOW = 8
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
    "initializer_range": 0.2,
}  # fmt: skip
CONFIGS: dict[str, Callable[..., PretrainedConfig]] = {
    "qwen2": Qwen2Config,
    "qwen3": lambda **sizes: Qwen3Config(head_dim=32, **sizes),
    "llama": LlamaConfig,
    "mistral": lambda **sizes: MistralConfig(sliding_window=WINDOW, **sizes),
}
PROMPT = [5, 9, 12, 7, 20, 11]
QUESTION = [{"role": "user", "content": "What is 478+356?"}]


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, tmp_path_factory) -> Path:
    """A model folder with random weights and the arithmetic tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    words: Any = AutoTokenizer.from_pretrained(MODEL)
    words.save_pretrained(folder)
    torch.manual_seed(0)
    ends = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = CONFIGS[request.param](vocab_size=len(words), **SIZES, **ends)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory) -> tuple[LoraTrainer, Path]:
    """A trainer after three updates, and the adapter it saved."""
    made = AdapterSettings(
        model=str(model), learning_rate=1e-2, device="cpu", sequence_mask=1e9, importance_mask=1e9
    )
    trainer, rng = LoraTrainer(made), torch.Generator().manual_seed(1)
    for _ in range(3):
        lengths = [4, 12, 9, 12]
        rollouts = [
            Rollout("", torch.randint(4, 24, (n,), generator=rng).tolist(), [-3.0] * n, "stop")
            for n in lengths
        ]
        group = RolloutGroup("g", "p", PROMPT, rollouts, 0, Sampling(), "", 0.0)
        trainer.update([TrainingGroup(group, [1.0, -1.0, 1.0, -1.0])])
    folder = tmp_path_factory.mktemp("adapter")
    trainer.save(folder)
    return trainer, folder


def sequences() -> list[TokenSequence]:
    rng = torch.Generator().manual_seed(2)
    return [
        TokenSequence(PROMPT, torch.randint(4, 24, (n,), generator=rng).tolist()) for n in (3, 14)
    ]


@torch.no_grad()
def plain_scores(model: Any, sequence: TokenSequence) -> torch.Tensor:
    """Log-probabilities of the completion by transformers' own forward pass, alone."""
    ids = torch.tensor([[*sequence.prompt, *sequence.completion]])
    logs = model(input_ids=ids).logits.log_softmax(-1)[0, len(sequence.prompt) - 1 : -1]
    return logs.gather(-1, torch.tensor(sequence.completion)[:, None]).squeeze(-1)


def test_scores_are_those_of_a_plain_forward_pass(trained: tuple[LoraTrainer, Path]) -> None:
    trainer, _ = trained
    batch = PromptBatch.of(sequences(), torch.device("cpu"))
    with torch.no_grad():
        scores = score_tokens(trainer.model, batch)[0]
    expected = torch.cat([plain_scores(trainer.model, one) for one in sequences()])
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_the_saved_adapter_is_plain_peft(model: Path, trained: tuple[LoraTrainer, Path]) -> None:
    _, folder = trained
    base = AutoModelForCausalLM.from_pretrained(model)
    loaded = PeftModel.from_pretrained(base, folder)
    sheet = ProbeSheet.read(folder)
    rows = zip(sheet.sequences, sheet.starts, sheet.adapter, strict=True)
    for ids, start, expected in rows:
        scores = plain_scores(loaded, TokenSequence(ids[:start], ids[start:]))
        torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.integration
@pytest.mark.needs("libnuma")
@pytest.mark.timeout(200)
async def test_vllm_runs_what_was_trained(
    model: Path, trained: tuple[LoraTrainer, Path], tmp_path: Path
) -> None:
    trainer, folder = trained
    with running_engine(tmp_path, model) as engine:
        async with Judge.at(engine.url, tmp_path / "adapters") as judge:
            vllm = judge.parts.engine
            await vllm.load("v1", str(folder))
            parity = await probe_parity(vllm, "v1", "base", ProbeSheet.read(folder))
            verdict = parity.verdict(1e-3)
            assert verdict.passed, verdict.reason
            assert parity.worst < 1e-3 < parity.to_base
            draws = await draw_all(vllm, EngineRequest("v1", QUESTION, {"n": 16, "max_tokens": 24}))
    completions = [TokenSequence(draw.prompt_ids, draw.rollout.token_ids) for draw in draws]
    with torch.no_grad():
        batch = PromptBatch.of(completions, torch.device("cpu"))
        ours = score_tokens(trainer.model, batch)[0]
    theirs = torch.tensor([value for draw in draws for value in draw.rollout.logprobs])
    ratios = (ours - theirs).exp()
    assert float(ratios.mean()) == pytest.approx(1.0, abs=1e-3)
    assert max(len(one) for one in completions) > WINDOW  # Mistral's window was too short for it
