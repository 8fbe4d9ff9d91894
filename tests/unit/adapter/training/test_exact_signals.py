"""Exact signals against the plain formula, against top-k, and their memory."""

import math
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapter.trainer import TRAINER_SIGNALS
from adapter.training import exact_signals as module
from adapter.training.exact_signals import TOP_K, exact_signals
from rewards.token_signals import entropy_bounds, entropy_estimate


def plain(hidden, weight, temperature=1.0, bias=None) -> dict[str, torch.Tensor]:
    logits = hidden.double() @ weight.double().T + (0.0 if bias is None else bias.double())
    logits = logits / temperature
    logs = torch.log_softmax(logits, dim=-1)
    return {
        "entropies": -(logs.exp() * logs).sum(-1),
        "confidences": -logs.topk(min(TOP_K, logs.shape[-1]), dim=-1).values.mean(-1),
        "self_certainties": -logs.mean(-1) - math.log(logs.shape[-1]),
    }


@pytest.mark.parametrize("vocabulary", [7, 100, 1_000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_blocks_add_up(monkeypatch, vocabulary: int, temperature: float) -> None:
    monkeypatch.setattr(module, "_POSITIONS", 5)
    monkeypatch.setattr(module, "_VOCABULARY", 64)
    torch.manual_seed(0)
    hidden, weight = torch.randn(13, 8) * 3, torch.randn(vocabulary, 8)
    bias = torch.randn(vocabulary)
    for given in (None, bias):
        found = exact_signals(hidden, weight, TRAINER_SIGNALS, temperature, given)
        expected = plain(hidden, weight, temperature, given)
        assert set(found) == TRAINER_SIGNALS
        for name, values in found.items():
            assert values.shape == (13,)
            torch.testing.assert_close(values.double(), expected[name], rtol=1e-4, atol=5e-5)


def test_only_what_was_asked_for() -> None:
    found = exact_signals(torch.randn(3, 4), torch.randn(9, 4), frozenset({"entropies"}))
    assert set(found) == {"entropies"}


def test_of_no_positions_there_are_no_signals() -> None:
    found = exact_signals(torch.randn(0, 4), torch.randn(9, 4), TRAINER_SIGNALS)
    assert {name: tuple(values.shape) for name, values in found.items()} == dict.fromkeys(
        TRAINER_SIGNALS, (0,)
    )


def test_by_hand_and_at_the_extremes() -> None:
    names = frozenset({"entropies"})
    one = exact_signals(torch.eye(1), torch.tensor([[2.0], [0.0], [0.0], [0.0]]), names)
    assert float(one["entropies"]) == pytest.approx(0.918284, abs=1e-6)
    sure = exact_signals(torch.eye(1), torch.tensor([[1e4], [0.0]]), names)
    assert float(sure["entropies"]) == 0.0
    even = exact_signals(torch.eye(1), torch.zeros(50, 1), names)
    assert float(even["entropies"]) == pytest.approx(math.log(50), abs=1e-5)


MEASURE = """
import resource, torch
from adapter.training.exact_signals import exact_signals
torch.set_num_threads(1)
hidden, weight = torch.randn({positions}, 16), torch.randn({vocabulary}, 16)
exact_signals(hidden[:4], weight[:4], frozenset({{"entropies"}}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
exact_signals(hidden, weight, frozenset({{"entropies", "confidences", "self_certainties"}}))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_positions_or_vocabulary() -> None:
    """The full logits of these 2,048 positions would be 1.2 GB, those of 64 x 512 twenty."""
    script = MEASURE.format(positions=2_048, vocabulary=152_000)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 256


@pytest.mark.parametrize(("k", "error"), [(3, 0.02), (5, 0.005), (20, 0.001)])
def test_exact_entropies_lie_within_the_bounds_from_topk_on_real_model_output(k, error) -> None:
    model = AutoModelForCausalLM.from_pretrained("evals/arithmetic/model")
    tokenizer = AutoTokenizer.from_pretrained("evals/arithmetic/model")
    torch.manual_seed(0)
    exact: list[float] = []
    estimates: list[float] = []
    for question in ("What is 478+356?", "What is 17+95?", "What is 804-396?", "What is 6+7?"):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True, return_tensors="pt", return_dict=True,
        )  # fmt: skip
        ids = model.generate(**prompt, do_sample=True, max_new_tokens=48)
        hidden = model.get_decoder()(ids).last_hidden_state[0].detach()
        hidden = hidden[prompt["input_ids"].shape[1] - 1 : -1]
        head = model.get_output_embeddings().weight.detach()
        exact += exact_signals(hidden, head, frozenset({"entropies"}))["entropies"].tolist()
        top = torch.log_softmax(hidden @ head.T, dim=-1).topk(k).values.tolist()
        bounds = [entropy_bounds(position, len(head)) for position in top]
        for (low, high), truth in zip(bounds, exact[-len(bounds) :], strict=True):
            assert low - 1e-4 <= truth <= high + 1e-4
        estimates += [entropy_estimate(position, len(head)) for position in top]
    assert sum(estimates) / sum(exact) == pytest.approx(1.0, abs=error)
