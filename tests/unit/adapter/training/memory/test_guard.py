"""A real trainer whose process may map no more memory: it halves its micro-batches and learns."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.trainer import OutOfMemory
from adapter.training.memory.guard import MemoryGuard, is_out_of_memory
from adapter.training.ranks import Ranks

CPU = torch.device("cpu")


def test_an_allocation_that_fails_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as met:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(met.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(("members", "group"), [([0, 1], None), ([1], "b")])
def test_what_does_not_fit_is_named_once_the_pass_is_over(
    members: list[int], group: str | None
) -> None:
    guard, done = MemoryGuard(Ranks(), CPU), []

    def allocate() -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    guard.attempt([0], 5, lambda: done.append("before"))
    guard.attempt(members, 40, allocate)
    guard.attempt([0], 5, lambda: done.append("after"))
    with pytest.raises(OutOfMemory) as met:
        guard.settle(["a", "b"])
    assert (met.value.tokens, met.value.group, done) == (40, group, ["before"])


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        MemoryGuard(Ranks(), CPU).attempt([0], 1, lambda: _fail("shapes"))


def _fail(text: str) -> None:
    raise RuntimeError(text)


_CHILD = """
import resource, sys, torch
from adapter.settings import AdapterSettings
from adapter.trainer import OutOfMemory, TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from rewards.rollouts import Rollout, RolloutGroup, Sampling

torch.manual_seed(0)
settings = AdapterSettings(
    model=sys.argv[1], lora_rank=2, threads=1, device="cpu", micro_batch_tokens=8192)
trainer = LoraTrainer(settings)
lengths = [int(n) for n in sys.argv[2].split(",")]
rollouts = [
    Rollout("", torch.randint(0, 64, (n,)).tolist(), [-4.0] * n, "stop") for n in lengths]
batch = [TrainingGroup(RolloutGroup("g", "", [1], rollouts, 0, Sampling(), "c", 0.0),
    [(-1.0) ** i for i in range(len(lengths))])]
if len(lengths) > 1:  # moments are there from now on
    first = [1.0] + [None] * (len(lengths) - 1)
    trainer.update([TrainingGroup(batch[0].group, first)])
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
before = [p.detach().clone() for p in trainer.optimiser.parameters]
for attempt in range(12):
    try:
        metrics = trainer.update(batch)
        print("learnt", attempt, trainer.gradient.micro_batch_tokens, int(metrics["tokens"]))
        break
    except OutOfMemory as error:
        same = all(torch.equal(a, b) for a, b in zip(before, trainer.optimiser.parameters))
        assert same and not trainer.optimiser.gradients()
        if error.group is not None:
            print("alone", error.group, error.tokens)
            break
        del error
        trainer.shrink(max(1, trainer.gradient.micro_batch_tokens // 2))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = Qwen2Config(
        vocab_size=64, hidden_size=64, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=8192,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    return folder


def learn(model: Path, lengths: str, limit: int) -> list[str]:
    argv = [sys.executable, "-c", _CHILD, str(model), lengths, str(limit)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit on memory here")
def test_a_trainer_out_of_memory_halves_its_work_and_learns(model: Path) -> None:
    """32 rollouts of 128 tokens want some 180 MB at once."""
    verdict, attempts, budget, tokens = learn(model, ",".join(["128"] * 32), 96 << 20)
    assert (verdict, int(tokens)) == ("learnt", 32 * 128)
    assert int(attempts) >= 1
    assert int(budget) < 4096


def test_a_rollout_that_does_not_fit_alone_is_named(model: Path) -> None:
    assert learn(model, "4000", 64 << 20) == ["alone", "g", "4001"]
