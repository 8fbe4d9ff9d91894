"""The sections of `gpu.py` that need the project: its trainer, and vLLM behind it."""

from __future__ import annotations

import importlib.util
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.token_scores import PromptBatch, TokenSequence, score_tokens
from rewards.rollouts import Rollout, RolloutGroup, Sampling

if TYPE_CHECKING:
    from loadtests.gpu import Bench

_LAYERS = 4
"""Of the model that the engine serves: starting it takes longest."""
_TOKENS = 64


def sections(bench: Bench) -> None:
    """`trainer`, and `engine` where vLLM and time are there."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(bench, Path(folder))
        if bench.device.type != "cuda":
            bench.report.add("engine/skipped", "no GPU")
        elif importlib.util.find_spec("vllm") is None:
            bench.report.add("engine/skipped", "not installed: vllm")
        elif time.monotonic() > bench.ends:
            bench.report.add("engine/skipped", "out of time")
        else:
            _engine(bench, trainer, Path(folder))


def _trainer(bench: Bench, folder: Path) -> LoraTrainer:
    """Time the product's update on random rollouts, and write its model into `folder`."""
    shape = bench.shape
    layers = min(shape.layers, _LAYERS)
    config = Qwen2Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.mlp,
        num_hidden_layers=layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, tie_word_embeddings=True,
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    settings = AdapterSettings(
        model=str(folder), device="cuda" if bench.device.type == "cuda" else "cpu",
        learning_rate=1e-4, log_dir=None,
    )  # fmt: skip
    trainer = LoraTrainer(settings)
    batch = [_group(shape.vocab, 8, _TOKENS if shape.name == "tiny" else 512)]
    tokens = sum(len(rollout.token_ids) for rollout in batch[0].group.rollouts)
    seconds = bench.timed(lambda: trainer.update(batch))
    bench.report.add("trainer/layers", layers)
    bench.report.add("trainer/completion_tokens_per_second", tokens / seconds, "tokens/s")
    bench.report.add("trainer/kl_after_the_step", trainer.update(batch)["kl"], "nats")
    if peak := bench.peak(lambda: trainer.update(batch)):
        bench.report.add("trainer/peak_per_token", peak / tokens, "bytes")
    return trainer


def _group(vocab: int, rollouts: int, length: int) -> TrainingGroup:
    """Rollouts of random tokens, half of them rewarded, as a policy of uniform chances sampled."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(0, vocab, (rollouts, length), generator=rng)
    sampled = cast("list[list[int]]", rows.tolist())
    made = [Rollout("", ids, [-math.log(vocab)] * length, "stop") for ids in sampled]
    group = RolloutGroup("g", "", [1] * 16, made, 0, Sampling(), "c", 0.0)
    return TrainingGroup(group, [1.0, -1.0] * (rollouts // 2))


def _engine(bench: Bench, trainer: LoraTrainer, folder: Path) -> None:
    """Load two versions into vLLM, compare its log-probabilities with the trainer's, swap."""
    vllm: Any = importlib.import_module("vllm")
    request: Any = importlib.import_module("vllm.lora.request").LoRARequest
    versions: list[Path] = []
    for number in (1, 2):
        trainer.update([_group(bench.shape.vocab, 8, 512)])
        versions.append(folder / f"v{number}")
        versions[-1].mkdir()
        trainer.save(versions[-1])
    started = time.perf_counter()
    engine = vllm.LLM(
        str(folder), skip_tokenizer_init=True, enable_lora=True, max_loras=2, max_lora_rank=16,
        max_model_len=1024, enforce_eager=True, gpu_memory_utilization=0.3,
        hf_overrides={"head_dtype": "float32"},
    )  # fmt: skip
    bench.report.add("engine/start_seconds", time.perf_counter() - started, "s")
    greedy = vllm.SamplingParams(max_tokens=_TOKENS, temperature=0.0, logprobs=0, detokenize=False)

    def drawn(lora: Any) -> tuple[list[int], list[float], float]:
        begun = time.perf_counter()
        [reply] = engine.generate(
            {"prompt_token_ids": [1] * 16}, greedy, lora_request=lora, use_tqdm=False
        )
        ids = list(reply.outputs[0].token_ids)
        rows = zip(reply.outputs[0].logprobs, ids, strict=True)
        return ids, [row[token].logprob for row, token in rows], time.perf_counter() - begun

    drawn(None)
    for number, path in enumerate(versions, 1):
        lora = request(f"v{number}", number, str(path))
        _, _, first = drawn(lora)
        ids, theirs, again = drawn(lora)
        bench.report.add(f"engine/v{number}_first_reply_seconds", first, "s")
        bench.report.add(f"engine/v{number}_next_reply_seconds", again, "s")
        trainer.load(path)
        bench.report.add(f"engine/v{number}_parity", _gap(trainer, ids, theirs), "nats")
        trainer.load(None)
        bench.report.add(f"engine/v{number}_from_base", _gap(trainer, ids, theirs), "nats")


@torch.no_grad()
def _gap(trainer: LoraTrainer, ids: Sequence[int], theirs: Sequence[float]) -> float:
    """Mean difference from the trainer's log-probabilities, nats a token."""
    device = next(trainer.model.parameters()).device
    batch = PromptBatch.of([TokenSequence([1] * 16, ids)], device)
    ours, _ = score_tokens(trainer.model, batch)
    return float((ours.cpu() - torch.tensor(theirs)).abs().mean())
