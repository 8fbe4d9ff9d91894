"""Sampling in this process, against the model's own numbers."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.sampler import Decoding
from evals.smollm2.chat_sampler import ChatSampler
from rewards.answer_choice import AnswerChoice

CHOICE = AnswerChoice("math")
GREEDY = 1e-4


@dataclass(frozen=True)
class Text:
    id: str
    text: str


ASKED = [Text("a", "What is 12 + 7?"), Text("b", "What is 4821 + 3307?"), Text("c", "5 - 2?")]


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL).eval()


def sampler(model: Any, seed: int = 0, **more: Any) -> ChatSampler:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    return ChatSampler(model, tokenizer, seed, choice=CHOICE, **more)


@torch.inference_mode()
def test_log_probabilities_are_those_of_the_model(model: Any) -> None:
    """Prompts of three lengths in one batch, rollouts that end at different times."""
    groups = sampler(model).groups(ASKED, Decoding(6, 2.0))
    assert [group.id for group in groups] == ["a", "b", "c"]
    for group in groups:
        assert group.answer == CHOICE
        assert len({len(rollout.token_ids) for rollout in group.rollouts}) > 1
        for rollout in group.rollouts:
            prompt, reply = list(group.prompt_ids), list(rollout.token_ids)
            logits = model(input_ids=torch.tensor([prompt + reply])).logits[0]
            rows = (logits[len(prompt) - 1 : -1] / 2.0).log_softmax(dim=-1)
            scores = rows.gather(1, torch.tensor(reply)[:, None])[:, 0].tolist()
            assert list(rollout.logprobs) == pytest.approx(scores, abs=1e-4)
            entropy = float(-(rows.exp() * rows).sum(dim=-1).mean())
            assert rollout.entropy == pytest.approx(entropy, abs=1e-4)


def test_a_batch_is_as_each_alone(model: Any) -> None:
    together = sampler(model).groups(ASKED, Decoding(1, GREEDY))
    for question, group in zip(ASKED, together, strict=True):
        [alone] = sampler(model).groups([question], Decoding(1, GREEDY))
        assert alone.rollouts[0].token_ids == group.rollouts[0].token_ids


def test_the_same_seed_gives_the_same_and_what_is_cut_off_says_so(model: Any) -> None:
    def ids(seed: int) -> list[list[int]]:
        [group] = sampler(model, seed, max_tokens=4).groups(ASKED[:1], Decoding(5, 3.0))
        assert all(r.finish_reason == "length" for r in group.rollouts if len(r.token_ids) == 4)
        return [list(rollout.token_ids) for rollout in group.rollouts]

    assert ids(1) == ids(1) != ids(2)
    assert all(len(row) <= 4 for row in ids(1))


def test_tokens_are_counted(model: Any) -> None:
    counting = sampler(model)
    groups = counting.groups(ASKED, Decoding(3))
    drawn = [len(rollout.token_ids) for group in groups for rollout in group.rollouts]
    assert counting.tokens == sum(drawn)
