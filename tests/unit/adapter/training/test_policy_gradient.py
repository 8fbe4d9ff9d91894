"""Our loss and its gradients against a reference written out plainly, in float64."""

import math
from contextlib import AbstractContextManager
from typing import Any

import peft
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.trainer import TrainingGroup
from adapter.training.loss import LOSSES, LossLimits
from adapter.training.policy_gradient import PolicyGradient, Row, rows_of, sample_of, size_of
from adapter.training.token_scores import TokenSequence
from rewards.advantages import ADVANTAGES
from rewards.rollouts import Rollout, RolloutGroup, Sampling

LIMITS = LossLimits(low=0.1, high=0.15, importance_cap=1.2, kl_coefficient=0.05)
CPU = torch.device("cpu")


@pytest.fixture
def model():
    """A tiny random model with a LoRA adapter that already does something, in float64."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
    )  # fmt: skip
    lora = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(Qwen2ForCausalLM(config), lora).double().eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return wrapped


def policy_gradient(model: Any, loss: str) -> PolicyGradient:
    return PolicyGradient(
        model=model.get_base_model(), without_adapter=model.disable_adapter, loss=loss,
        limits=LIMITS, micro_batch_tokens=14,
    )  # fmt: skip


def rows(advantage: str) -> list[Row]:
    """Two groups, two temperatures, uneven lengths, engine values that are a little off."""
    rng = torch.Generator().manual_seed(1)
    groups = []
    rewards = [[1.0, 0.0, 0.3], [0.0, 1.0]]
    for index, (count, temperature) in enumerate(((3, 1.0), (2, 0.7))):
        prompt = torch.randint(0, 30, (3 + index,), generator=rng).tolist()
        rollouts = []
        for length in [2, 6, 4][:count]:
            tokens = torch.randint(0, 30, (length,), generator=rng).tolist()
            engine = (-3.2 + torch.rand(length, generator=rng)).tolist()
            rollouts.append(Rollout("", tokens, engine, "stop"))
        sampling = Sampling(temperature, max_tokens=8 if index else 0)
        groups.append(RolloutGroup(str(index), "", prompt, rollouts, 0, sampling, "c", 0.0))
    tokens = [[len(r.token_ids) for r in group.rollouts] for group in groups]
    advantages = ADVANTAGES[advantage](rewards, tokens, 0.0)
    return rows_of([TrainingGroup(g, a) for g, a in zip(groups, advantages, strict=True)])


def logprobs(model, row: Row) -> torch.Tensor:
    prompt, completion = list(row.sequence.prompt), list(row.sequence.completion)
    logits = model(torch.tensor([prompt + completion])).logits[0] / row.sampling.temperature
    logs = torch.log_softmax(logits, dim=-1)
    at = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
    return torch.stack([logs[i, token] for i, token in zip(at, completion, strict=True)])


def reference(name: str, model, batch: list[Row], old: list[torch.Tensor]) -> torch.Tensor:
    """The definition, sequence by sequence and token by token."""
    tokens = sum(len(row.engine) for row in batch)
    longest = max(len(row.engine) for row in batch)
    capacity = sum(row.sampling.max_tokens or longest for row in batch)
    total = torch.zeros((), dtype=torch.float64)
    for row, before in zip(batch, old, strict=True):
        new = logprobs(model, row)
        with torch.no_grad(), model.disable_adapter():
            base = logprobs(model, row)
        engine = torch.tensor(row.engine, dtype=torch.float64)
        advantage = row.advantage
        if name == "gspo":
            ratio = torch.exp((new - before).mean())
            weight = min(math.exp(float((before - engine).mean())), LIMITS.importance_cap)
            cut = ratio.clamp(1 - LIMITS.low, 1 + LIMITS.high)
            total -= weight * torch.min(ratio * advantage, cut * advantage) / len(batch)
        for t in range(len(new)):
            weight = min(math.exp(float(before[t] - engine[t])), LIMITS.importance_cap)
            ratio = torch.exp(new[t] - before[t])
            if name in ("grpo", "dr_grpo"):
                cut = ratio.clamp(1 - LIMITS.low, 1 + LIMITS.high)
                divisor = tokens if name == "grpo" else capacity
                total -= weight * torch.min(ratio * advantage, cut * advantage) / divisor
            elif name == "cispo":
                capped = min(float(ratio.detach()), 1 + LIMITS.high)
                total -= weight * capped * advantage * new[t] / tokens
            elif name == "reinforce":
                total -= weight * advantage * new[t] / tokens
            gap = base[t] - new[t]
            total += LIMITS.kl_coefficient * (gap.exp() - gap - 1) / tokens
    return total


def clipped(model, batch, old) -> tuple[float, float]:
    """Shares of tokens that the clip holds back: worse and ever rarer, better and ever likelier."""
    low = high = 0
    for row, before in zip(batch, old, strict=True):
        for ratio in (logprobs(model, row).detach() - before).exp().tolist():
            low += row.advantage < 0 and ratio < 1 - LIMITS.low
            high += row.advantage > 0 and ratio > 1 + LIMITS.high
    tokens = sum(len(row.sequence.completion) for row in batch)
    return low / tokens, high / tokens


def gradients(model) -> torch.Tensor:
    found = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
    model.zero_grad()
    return torch.cat(found)


@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_the_reference(model, name: str, advantage: str) -> None:
    batch = rows(advantage)
    ours = policy_gradient(model, name)
    old = [logprobs(model, row).detach() for row in batch]
    for later in (False, True):  # the second pass clips against what the first one saw
        found = ours.backward(batch, CPU)
        mine = gradients(model)
        loss = reference(name, model, batch, old)
        loss.backward()
        theirs = gradients(model)
        assert found["loss"] == pytest.approx(float(loss.detach()), rel=1e-6)
        assert float((mine - theirs).norm() / theirs.norm()) < 1e-6
        low, high = clipped(model, batch, old)
        assert found["clip_ratio/low_mean"] == pytest.approx(low)
        assert found["clip_ratio/high_mean"] == pytest.approx(high)
        assert found["clip_ratio/region_mean"] == pytest.approx(low + high)
        assert (low + high > 0) is (later and advantage != "reinforce")  # whose ratios fall here
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.sign(parameter), alpha=0.1)


def test_a_new_batch_starts_from_its_own_log_probabilities(model) -> None:
    ours = policy_gradient(model, "grpo")
    ours.backward(rows("grpo"), CPU)
    ours.forget()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    assert ours.backward(rows("grpo"), CPU)["clip_ratio/region_mean"] == 0.0


def test_drift_is_the_kl_of_the_weights_as_they_are(model) -> None:
    ours, batch = policy_gradient(model, "grpo"), rows("grpo")
    ours.backward(batch, CPU)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(1.5)
        total = 0.0
        for row in batch:
            new = logprobs(model, row)
            with model.disable_adapter():
                gap = logprobs(model, row) - new
            weight = (new - torch.tensor(row.engine).double()).exp().clamp(max=1.2)
            total += float((weight * (gap.exp() - gap - 1).clamp(max=10)).sum())
    assert ours.drift(batch, CPU) == pytest.approx(total / 20, rel=1e-6)
    ours.forget()
    assert ours.drift(batch, CPU) == pytest.approx(total / 20, rel=1e-6)  # base computed anew


def test_the_sample_for_the_drift_is_bounded_and_from_all_over_the_batch() -> None:
    def chosen(count: int, length: int) -> list[int]:
        row = Row(TokenSequence([1], [2] * length), [-1.0] * length, 1.0, Sampling())
        return sample_of([row] * count)

    assert sorted(chosen(128, 8)) == list(range(128))  # 1,024 tokens: all of them
    assert len(chosen(128, 17)) == 60  # 1,020 of 2,176
    assert len(chosen(512, 100)) == 64  # an eighth
    assert len(chosen(512, 3000)) == 21  # 63,000 of 65,536
    assert len(chosen(4, 100_000)) == 1
    quarters = [row // 128 for row in chosen(512, 3000)]
    assert {quarter: quarters.count(quarter) for quarter in range(4)} == {0: 6, 1: 5, 2: 4, 3: 6}


def test_sizes_of_a_batch() -> None:
    batch = rows("grpo")
    assert (size_of(batch).tokens, size_of(batch).sequences) == (20, 5)
    assert size_of(batch).capacity == 3 * 6 + 2 * 8


def test_rollouts_without_advantage_or_tokens_are_no_rows() -> None:
    rollouts = [Rollout("", ids, [-1.0] * len(ids), "stop") for ids in ([1], [], [2])]
    group = RolloutGroup("g", "", [5], rollouts, 0, Sampling(), "c", 0.0)
    assert [row.sequence for row in rows_of([TrainingGroup(group, [1.0, 1.0, None])])] == [
        TokenSequence([5], [1])
    ]


def test_switching_the_adapter_off_is_the_models_own_business(model) -> None:
    entered = []

    class Watched(AbstractContextManager):
        def __enter__(self):
            entered.append(1)
            self.inner = model.disable_adapter()
            return self.inner.__enter__()

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    PolicyGradient(
        model=model.get_base_model(),
        without_adapter=Watched,
        loss="grpo",
        limits=LIMITS,
        micro_batch_tokens=1000,
    ).backward(rows("grpo"), CPU)
    assert len(entered) == 2  # one micro-batch a temperature
