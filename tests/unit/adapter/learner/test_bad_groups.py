"""Groups that no engine should have sent, through Redis to the trainer that ships.

None of them gets into the weights, none ends the learner, and each is accounted for.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.learner.recipe import Recipe
from adapter.learner.scoring import Scoring
from adapter.learner.worker import LearnerDiverged, Worker
from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.memory_releases import MemoryReleases
from adapter.store.redis.buffer import RedisBuffer
from adapter.training.lora_trainer import LoraTrainer
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.majority import Majority
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.learning import first_release

VOCAB = 16
NAN, INF = math.nan, math.inf


def group(name: str, **changes: Any) -> RolloutGroup:
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5, 3], [-2.5, -3.0], "stop") for a in "112"]
    return replace(RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0), **changes)


def with_rollout(**changes: Any) -> dict[str, Any]:
    """Two good rollouts, and one with these fields."""
    one, two, three = group("").rollouts
    return {"rollouts": [one, replace(two, **changes), three]}


BAD: dict[str, dict[str, Any]] = {
    "NaN log-probability": with_rollout(logprobs=[-1.0, NAN]),
    "infinite log-probability": with_rollout(logprobs=[INF, -1.0]),
    "log-probability of 0 chance": with_rollout(logprobs=[-INF, -1.0]),
    "token just outside the vocabulary": with_rollout(token_ids=[5, VOCAB]),
    "token far outside": with_rollout(token_ids=[5, 2**31 - 1]),
    "negative token": with_rollout(token_ids=[-1, 3]),
    "prompt outside the vocabulary": {"prompt_ids": [1, VOCAB]},
    "negative prompt": {"prompt_ids": [-5, 1]},
    "no prompt": {"prompt_ids": []},
    "no rollouts": {"rollouts": []},
    "empty rollouts only": {
        "rollouts": [replace(r, token_ids=[], logprobs=[]) for r in group("").rollouts]
    },
    "fewer log-probabilities than tokens": with_rollout(logprobs=[-1.0]),
    "more log-probabilities than tokens": with_rollout(logprobs=[-1.0] * 3),
    "NaN temperature": {"sampling": Sampling(temperature=NAN)},
    "infinite temperature": {"sampling": Sampling(temperature=INF)},
    "NaN time": {"created_at": NAN},
    "a version of the future": {"policy_version": 10**12},
    "a version before base": {"policy_version": -1},
}


class Bench:
    """The learner that ships on a tiny model; no server judges what it makes."""

    def __init__(self, url: str, model: Path, folder: Path, **settings: Any) -> None:
        self.buffer, self.releases = RedisBuffer(url), MemoryReleases()
        given = {"lora_rank": 1, "lora_alpha": 1, "threads": 1, **settings}
        self.trainer = LoraTrainer(AdapterSettings(model=str(model), **given))
        scoring = Scoring(estimator=Majority(), advantage=grpo, kinds=AnswerKinds())
        self.worker = Worker(
            buffer=self.buffer, releases=self.releases, trainer=self.trainer,
            folders=AdapterFolders(folder),
            recipe=Recipe(scoring=scoring, groups_per_update=2, max_lag=1, keep_versions=2),
        )  # fmt: skip

    async def first_release(self) -> list[str]:
        return await first_release(self.worker, self.buffer, self.releases)

    def weights(self) -> list[torch.Tensor]:
        found = [p for p in self.trainer.model.parameters() if p.requires_grad]
        return [parameter.detach().clone() for parameter in found]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    return folder


@pytest.fixture
def bench(servers, model: Path, tmp_path: Path) -> Callable[..., Bench]:
    return lambda **settings: Bench(servers("valkey").url, model, tmp_path, **settings)


async def test_bad_groups_among_good_ones(bench: Callable[..., Bench]) -> None:
    made = bench()
    for name in "ba":
        await made.buffer.append(group(name))
    for name, changes in BAD.items():  # the newest, so they are read first
        await made.buffer.append(group(name, **changes))
    assert await made.first_release() == ["a", "b"]
    assert all(weight.isfinite().all() for weight in made.weights())
    state = await made.buffer.state()
    await made.buffer.close()
    outcomes = {name: count for name, count in state.totals.items() if name != "accepted"}
    assert outcomes == {"dead": len(BAD) - 2, "dropped:stale": 2, "trained": 2}
    assert (state.waiting, state.totals["accepted"]) == (0, len(BAD) + 2)


async def test_some_empty_rollouts_are_answers_like_others(bench: Callable[..., Bench]) -> None:
    made = bench()
    await made.buffer.append(group("a", **with_rollout(token_ids=[], logprobs=[])))
    await made.buffer.append(group("b"))
    assert await made.first_release() == ["b", "a"]
    assert all(weight.isfinite().all() for weight in made.weights())
    await made.buffer.close()


async def test_log_probabilities_far_from_ours_are_not_learnt_from(
    bench: Callable[..., Bench],
) -> None:
    """exp(-1 + 1e38) is infinite, and so is the ratio to be masked."""
    made = bench()
    await made.buffer.append(group("a", **with_rollout(logprobs=[-1e38, -1e38])))
    await made.buffer.append(group("b"))
    assert await made.first_release() == ["b", "a"]
    assert all(weight.isfinite().all() for weight in made.weights())
    await made.buffer.close()


async def test_three_diverged_updates_end_it_and_leave_the_weights(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    with torch.no_grad():
        made.trainer.model.get_output_embeddings().weight[0, 0] = NAN  # every loss is NaN
    before = made.weights()
    for name in "abcdef":
        await made.buffer.append(group(name))
    with pytest.raises(LearnerDiverged, match="3 updates in a row: loss nan"):
        await asyncio.wait_for(made.worker.run(), 30)
    assert all(torch.equal(a, b) for a, b in zip(before, made.weights(), strict=True))
    assert await made.releases.all() == []
    state = await made.buffer.state()
    assert (state.waiting, state.totals["dropped:diverged"]) == (0, 6)
    await made.buffer.close()
