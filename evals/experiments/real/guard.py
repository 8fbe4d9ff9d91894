"""What learning costs elsewhere: the guards' tasks, and how likely base's own replies are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from adapter.training.lora_trainer import LoraTrainer
from evals.arithmetic.questions import Question
from evals.arithmetic.sampler import Decoding
from evals.smollm2.chat_sampler import ChatSampler
from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import RolloutGroup
from server.promotion.guards.suite import PROSE, GuardItem, guard_suite

_EACH, _PROSE, _TOKENS = 12, 8, 48
"""Tasks of each area, prompts for prose, and most tokens of a reply."""
_NEARLY_GREEDY = 1e-4


class Guard:
    """Measures a trainer's model with its adapter against the same without."""

    def __init__(self, trainer: LoraTrainer, tokenizer: Any) -> None:
        self._trainer, self._model, self._tokenizer = trainer, trainer.model, tokenizer
        suite, kinds = guard_suite(), AnswerKinds()
        self._kinds = kinds
        areas = dict.fromkeys(item.area for item in suite if item.area != PROSE)
        self._tasks = [
            item for area in areas for item in [one for one in suite if one.area == area][:_EACH]
        ]
        self._prose = [item for item in suite if item.area == PROSE][:_PROSE]

    def measure(self) -> Mapping[str, float]:
        """`kept`: the share of the tasks that base does which the adapter still does (1 if base
        does none); `did`: how many base does; `likelihood`: by how many nats a token base's own
        prose is less likely."""
        with self._trainer.without_adapter():
            base = self._done()
            prose = self._groups(self._prose)
            before = self._likelihood(prose)
        adapted = self._done()
        after = self._likelihood(prose)
        return {
            "did": float(len(base)),
            "kept": len(base & adapted) / len(base) if base else 1.0,
            "likelihood": before - after,
        }

    def _done(self) -> set[str]:
        """Tasks that the model does as it stands."""
        groups = self._groups(self._tasks)
        return {
            item.id
            for item, group in zip(self._tasks, groups, strict=True)
            if item.right(self._kinds, group.rollouts[0])
        }

    def _groups(self, items: list[GuardItem]) -> list[RolloutGroup]:
        sampler = ChatSampler(
            self._model, self._tokenizer, 0, choice=AnswerChoice("text"), max_tokens=_TOKENS
        )
        asked = [Question(item.id, item.question, "", 0, "") for item in items]
        return sampler.groups(asked, Decoding(1, _NEARLY_GREEDY))

    @torch.inference_mode()
    def _likelihood(self, groups: list[RolloutGroup]) -> float:
        """Mean log-probability of a token of these replies, in nats."""
        found: list[float] = []
        for group in groups:
            prompt, reply = list(group.prompt_ids), list(group.rollouts[0].token_ids)
            logits = self._model(input_ids=torch.tensor([prompt + reply])).logits[0].float()
            rows = logits[len(prompt) - 1 : -1].log_softmax(dim=-1)
            found += rows.gather(1, torch.tensor(reply)[:, None])[:, 0].tolist()
        return sum(found) / len(found)
