"""The trainer's mathematics on a tiny random model, against plain PyTorch and Transformers."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import AdapterFolders, learner_folder
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import TrainingGroup, UpdateDiverged
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.policy_gradient import rows_of
from adapter.training.token_scores import PromptBatch, TokenSequence, score_tokens
from rewards.rollouts import Rollout, RolloutGroup, Sampling

VOCAB = 40
SPLIT = [0.866, -0.866, -0.866, 0.866]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    return folder


def settings(model: Path, **changes) -> AdapterSettings:
    given = {
        "learning_rate": 1e-2,
        "lora_rank": 4,
        "lora_alpha": 8,
        "threads": 1,
        "dtype": "float32",
    }
    return AdapterSettings(model=str(model), **{**given, **changes})


@pytest.fixture
def trainer(model_folder: Path) -> LoraTrainer:
    return LoraTrainer(settings(model_folder))


def sampled(trainer: LoraTrainer, temperature: float = 1.0, seed: int = 0) -> RolloutGroup:
    """Rollouts of several lengths with the log-probabilities that an engine would report."""
    rng = torch.Generator().manual_seed(seed)
    prompt = [1, 2, 3]
    rollouts: list[Rollout] = []
    for length in (2, 5, 3, 4):
        tokens = torch.randint(0, VOCAB, (length,), generator=rng).tolist()
        logits = trainer.model(torch.tensor([prompt + tokens])).logits[0, 2:-1].detach()
        logs = torch.log_softmax(logits / temperature, -1)
        chosen = logs.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()
        rollouts.append(Rollout("", tokens, chosen, "stop"))
    return RolloutGroup("g", "", prompt, rollouts, 0, Sampling(temperature), "c", 0.0)


def test_scores_by_hand() -> None:
    """Logits [2, 0, 0, 0] have an entropy of 0.918284 nats."""

    class Fixed(torch.nn.Module):
        is_gradient_checkpointing = False

        def get_decoder(self):
            return lambda input_ids, **_: type(
                "Out",
                (),
                {"last_hidden_state": torch.ones(*input_ids.shape, 1, requires_grad=True)},
            )

        def get_output_embeddings(self):
            head = torch.nn.Linear(1, 4, bias=False)
            head.weight.data = torch.tensor([[2.0], [0.0], [0.0], [0.0]])
            return head.requires_grad_(False)

    batch = PromptBatch.of([TokenSequence([0], [0, 1])], torch.device("cpu"))
    logprobs, entropy = score_tokens(Fixed(), batch)
    assert entropy.tolist() == pytest.approx([0.918284] * 2, abs=1e-6)
    total = math.exp(2) + 3
    assert logprobs.tolist() == pytest.approx([2 - math.log(total), -math.log(total)], abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_scores_equal_a_plain_forward_pass_for_each_sequence(
    trainer: LoraTrainer, temperature: float
) -> None:
    group = sampled(trainer, temperature)
    sequences = [TokenSequence(group.prompt_ids, r.token_ids) for r in group.rollouts]
    batch = PromptBatch.of(sequences, torch.device("cpu"))
    logprobs, _ = score_tokens(trainer.model, batch, temperature)
    expected = [value for r in group.rollouts for value in r.logprobs]
    assert logprobs.tolist() == pytest.approx(expected, abs=1e-5)


def test_entropies_are_means_over_each_rollout(trainer: LoraTrainer) -> None:
    group = sampled(trainer)
    found = trainer.signals(group, frozenset({"entropies"}))["entropies"]
    for entropy, rollout in zip(found, group.rollouts, strict=True):
        ids = torch.tensor([[*group.prompt_ids, *rollout.token_ids]])
        p = torch.softmax(trainer.model(ids).logits[0, 2:-1].detach(), -1)
        assert entropy == pytest.approx(float(-(p * p.log()).sum(-1).mean()), abs=1e-5)


def test_an_update_moves_probability_to_what_was_rewarded(trainer: LoraTrainer) -> None:
    group = sampled(trainer)
    advantages = SPLIT
    before = sampled(trainer).rollouts
    metrics = trainer.update([TrainingGroup(group, advantages)])
    after = sampled(trainer).rollouts
    for advantage, old, new in zip(advantages, before, after, strict=True):
        assert (sum(new.logprobs) - sum(old.logprobs)) * advantage > 0
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["importance/effective_sample_size"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["tokens"] == 14


def test_kl_to_base_is_measured_after_the_step(trainer: LoraTrainer) -> None:
    before = sampled(trainer).rollouts  # from base: the adapter is new
    kl = trainer.update([TrainingGroup(sampled(trainer), SPLIT)])["kl"]
    after = sampled(trainer).rollouts
    gaps = [
        was - now
        for old, new in zip(before, after, strict=True)
        for was, now in zip(old.logprobs, new.logprobs, strict=True)
    ]
    # a token was sampled with e^gap times the probability that it has now
    expected = sum(min(math.exp(-gap), 2.0) * (math.exp(gap) - gap - 1) for gap in gaps) / 14
    assert kl == pytest.approx(expected, rel=1e-3)
    assert kl > 1e-6


def test_where_engine_and_trainer_disagree_nothing_is_learnt(trainer: LoraTrainer) -> None:
    """The engine is off by e^3 at one of five tokens, and by 1/e at each of three others."""
    group = sampled(trainer)
    first, second, third, fourth = group.rollouts
    spoilt = [
        first,
        replace(second, logprobs=[second.logprobs[0] - 3, *second.logprobs[1:]]),
        replace(third, logprobs=[value + 1 for value in third.logprobs]),
        fourth,
    ]
    metrics = trainer.update([TrainingGroup(replace(group, rollouts=spoilt), SPLIT)])
    assert metrics["rollout_corr/rollout_rs_masked_fraction"] == pytest.approx((1 + 3) / 14)
    assert metrics["importance/dropped_sequences"] == 1 / 4


def gradient(trainer: LoraTrainer) -> torch.Tensor:
    """Of one batch. Not the step: Adam's first one is near a sign, which rounding can turn."""
    trainer.gradient.backward(
        rows_of([TrainingGroup(sampled(trainer), SPLIT)]), torch.device("cpu")
    )
    return torch.cat([p.grad.flatten() for p in trainer.optimiser.parameters])


def test_micro_batches_do_not_change_the_gradient(model_folder: Path) -> None:
    small, large = (
        gradient(LoraTrainer(settings(model_folder, micro_batch_tokens=tokens)))
        for tokens in (8, 4096)
    )
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


def test_rollouts_left_out_have_no_influence(model_folder: Path) -> None:
    updated = []
    for group_size in (4, 3):
        trainer = LoraTrainer(settings(model_folder))
        group = sampled(trainer)
        advantages = [0.5, -0.2, -0.3, None][:group_size]
        shown = RolloutGroup(
            "g", "", group.prompt_ids, group.rollouts[:group_size], 0, group.sampling, "c", 0.0
        )
        trainer.update([TrainingGroup(shown, advantages)])
        updated.append(torch.cat([p.flatten() for p in trainer.optimiser.parameters]))
    assert torch.equal(*updated)


def test_undo_brings_back_weights_and_optimiser(model_folder: Path) -> None:
    straight, detour = (LoraTrainer(settings(model_folder)) for _ in range(2))
    good = TrainingGroup(sampled(straight), SPLIT)
    bad = TrainingGroup(sampled(straight, seed=1), [-0.5, 1.5, -0.5, -0.5])
    straight.update([good])
    detour.update([good])
    detour.update([bad])
    detour.undo()
    for trainer in (straight, detour):
        trainer.update([good])
    assert all(
        torch.equal(a, b)
        for a, b in zip(straight.optimiser.parameters, detour.optimiser.parameters, strict=True)
    )


def test_a_non_finite_loss_changes_nothing(trainer: LoraTrainer) -> None:
    group = sampled(trainer)
    before = [p.detach().clone() for p in trainer.optimiser.parameters]
    with pytest.raises(UpdateDiverged):
        trainer.update([TrainingGroup(group, [float("nan"), 0.0, 0.0, 0.0])])
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.optimiser.parameters, strict=True))
    trainer.update([TrainingGroup(group, SPLIT)])


def test_saved_and_loaded_again_it_is_the_same_adapter(
    model_folder: Path, trainer: LoraTrainer, tmp_path: Path
) -> None:
    group = sampled(trainer)
    trainer.update([TrainingGroup(group, SPLIT)])
    folders = AdapterFolders(tmp_path)
    name, _ = folders.commit(1, trainer.save)
    sheet = ProbeSheet.read(tmp_path / name)
    assert sheet.sequences == [[*group.prompt_ids, *r.token_ids] for r in group.rollouts]
    assert sheet.starts == [len(group.prompt_ids)] * len(group.rollouts)
    assert [len(row) for row in sheet.base] == [len(r.token_ids) for r in group.rollouts]
    assert sheet.adapter[0] != sheet.base[0]
    other = LoraTrainer(settings(model_folder, seed=5))
    other.load(tmp_path / name)
    assert all(
        torch.equal(a, b)
        for a, b in zip(trainer.optimiser.parameters, other.optimiser.parameters, strict=True)
    )
    other.load(None)
    assert all(not p.detach().any() for n, p in other.model.named_parameters() if "lora_B" in n)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_learner_that_was_restarted_goes_on_bit_for_bit(
    model_folder: Path, tmp_path: Path, schedule: str
) -> None:
    given = settings(model_folder, schedule=schedule, schedule_updates=5, warmup_updates=2)

    def update(trainer: LoraTrainer, seed: int) -> None:
        fixed = LoraTrainer(given)  # what the engine sampled does not depend on the learner
        trainer.update([TrainingGroup(sampled(fixed, seed=seed), SPLIT)])

    straight = LoraTrainer(given)
    for seed in range(2):
        update(straight, seed)
    folder = tmp_path / "v2"
    folder.mkdir()
    straight.save(folder)
    update(straight, 2)

    restarted = LoraTrainer(given)
    restarted.load(folder)
    update(restarted, 2)
    pairs = zip(straight.optimiser.parameters, restarted.optimiser.parameters, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert straight.optimiser.rate() == restarted.optimiser.rate()
    assert straight.pinned == restarted.pinned


def test_pinned_tokens_are_only_those_of_the_lineage(trainer: LoraTrainer, tmp_path: Path) -> None:
    """What a client said goes with the versions that learnt from it."""
    first, second = (replace(sampled(trainer, seed=seed), prompt_ids=[seed]) for seed in (4, 5))
    trainer.update([TrainingGroup(first, SPLIT)])
    trainer.undo()
    assert trainer.pinned == []
    trainer.update([TrainingGroup(second, SPLIT)])
    folders = AdapterFolders(tmp_path)
    name, _ = folders.commit(1, trainer.save)
    trainer.load(None)
    assert trainer.pinned == []
    trainer.load(tmp_path / name)
    assert trainer.pinned == [TokenSequence([5], list(r.token_ids)) for r in second.rollouts]


def test_an_adapter_without_optimiser_state_starts_it_anew(
    trainer: LoraTrainer, tmp_path: Path
) -> None:
    trainer.update([TrainingGroup(sampled(trainer), SPLIT)])
    name, _ = AdapterFolders(tmp_path).commit(1, trainer.save)
    pinned = trainer.pinned
    shutil.rmtree(learner_folder(tmp_path / name))
    trainer.load(tmp_path / name)
    assert (trainer.optimiser.updates, trainer.pinned) == (0, pinned)


def test_schedules_by_hand(model_folder: Path) -> None:
    def rates(**changes) -> list[float]:
        trainer = LoraTrainer(settings(model_folder, learning_rate=1.0, **changes))
        found = []
        for updates in range(5):
            trainer.optimiser.updates = updates
            found.append(trainer.optimiser.rate())
        return found

    assert rates(warmup_updates=2) == [0.5, 1.0, 1.0, 1.0, 1.0]
    half = 0.5 * (1 + math.cos(math.pi / 4))
    assert rates(schedule="cosine", schedule_updates=4) == pytest.approx(
        [1, half, 0.5, 1 - half, 0]
    )


def test_later_passes_clip_against_the_first(model_folder: Path) -> None:
    trainer = LoraTrainer(settings(model_folder, passes=3, clip_low=0.01, clip_high=0.01))
    metrics = trainer.update([TrainingGroup(sampled(trainer), SPLIT)])
    assert metrics["clip_ratio/region_mean"] > 0
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=1e-4)
    assert trainer.optimiser.updates == 1


def test_gradient_checkpointing_changes_nothing_but_memory(model_folder: Path) -> None:
    plain, recomputed = (
        gradient(LoraTrainer(settings(model_folder, gradient_checkpointing=checkpointing)))
        for checkpointing in (False, True)
    )
    torch.testing.assert_close(plain, recomputed, rtol=1e-4, atol=1e-6)
