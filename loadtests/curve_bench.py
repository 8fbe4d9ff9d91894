"""Learning curves beside TRL's GRPOTrainer, both with a majority reward: `make bench-curves`.

Same base, questions, LoRA, learning rate and number of updates, over several seeds; every side
samples by itself. Ours runs without and with the promotion gate. Label-free learning can collapse:
what counts is the mean, and the worst seed. Needs no engine; a seed takes some four minutes.
"""

# pyright: basic
# TRL has no types, and is not installed but by those who compare.

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapter.training.lora_trainer import LoraTrainer
from evals.arithmetic.measurement import measure
from evals.arithmetic.practice import Practice
from evals.arithmetic.questions import Question, stream_and_held_out
from evals.arithmetic.sampler import MAX_NEW_TOKENS, Decoding, sample
from evals.arithmetic.tokenizer import prompt_text
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import MathAnswers, math_answer
from rewards.votes import take_vote
from server.engine.base import Batches, Draw, EngineRequest, is_chat
from server.engine.scripted import ScriptedEngine
from server.policy.learning_share import LearningShare
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.promotion.decision.decision import DecisionRules
from server.promotion.gate_draws import GateDraws
from server.promotion.probe_set import ProbeRules, ProbeSet
from server.promotion.trial import Trial, TrialRules
from server.recording.reservoir import Query, Reservoir

MODEL = "evals/arithmetic/model"
SIDES = ("trl", "ours", "ours, gated")
_GROUPS, _ROLLOUTS, _HELD_OUT, _EVERY = 16, 32, 200, 10


@dataclass(frozen=True, slots=True)
class Course:
    """One run: `updates` optimiser steps at `rate` over questions drawn from `seed`."""

    side: str
    seed: int
    updates: int
    rate: float

    def questions(self) -> tuple[list[Question], list[Question]]:
        """The stream, a batch of questions an update, and the held-out ones."""
        return stream_and_held_out(self.seed, self.updates * _GROUPS, _HELD_OUT)


def main() -> None:
    """Every side and seed in a process of its own; a table, and the curves as JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.curve_bench", description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-curves.jsonl"))
    parser.add_argument("--course", help="run one course and print its curve (used by itself)")
    chosen = parser.parse_args()
    if chosen.course:
        print(json.dumps(_run(Course(**json.loads(chosen.course)))))
        return
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    ends: dict[str, list[float]] = {side: [] for side in SIDES}
    with chosen.out.open("w") as file:
        for seed in range(chosen.seeds):
            for side in SIDES:
                course = {
                    "side": side, "seed": seed, "updates": chosen.updates, "rate": chosen.rate
                }  # fmt: skip
                started = time.monotonic()
                curve = _in_a_process(course)
                ends[side].append(curve["avg"][-1])
                file.write(json.dumps({**course, **curve}) + "\n")
                file.flush()
                line = " ".join(f"{100 * value:.1f}" for value in curve["avg"])
                print(
                    f"seed {seed} {side}: {line} ({time.monotonic() - started:.0f} s)", flush=True
                )
    print("\n| side | mean of seeds, avg@16 | worst | best |\n|---|---|---|---|")
    for side, values in ends.items():
        mean = sum(values) / len(values)
        print(f"| {side} | {mean:.1%} | {min(values):.1%} | {max(values):.1%} |")


def _in_a_process(course: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "loadtests.curve_bench", "--course", json.dumps(course)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{course}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _run(course: Course) -> dict[str, Any]:
    torch.manual_seed(course.seed)
    torch.set_num_threads(1)
    return _trl(course) if course.side == "trl" else _ours(course)


def _accuracy(model: Any, tokenizer: Any, held_out: Sequence[Question]) -> float:
    return measure(model, tokenizer, held_out)[0].avg


def _ours(course: Course) -> dict[str, Any]:
    practice = Practice(course.seed, decoding=Decoding(_ROLLOUTS), learning_rate=course.rate)
    trainer, tokenizer = practice.trainer, practice.tokenizer
    stream, held_out = course.questions()
    gate = _Gate(trainer, tokenizer) if course.side == "ours, gated" else None
    curve = [_accuracy(trainer.model, tokenizer, held_out)]
    rejected = 0
    for update in range(course.updates):
        asked = stream[update * _GROUPS : (update + 1) * _GROUPS]
        step = practice.step(asked)
        if gate is not None and not gate.passes(asked, step.metrics["kl"]):
            practice.undo()
            rejected += 1
        if (update + 1) % _EVERY == 0:
            curve.append(_accuracy(trainer.model, tokenizer, held_out))
    return {"avg": curve, "rejected": rejected}


class _Gate:
    """The server's trial, over the weights that passed last and those of now."""

    def __init__(self, trainer: LoraTrainer, tokenizer: Any) -> None:
        self._trainer = trainer
        self._engine = _LocalEngine(trainer, tokenizer)
        self._reservoir = Reservoir()
        self._live, self._judged = "base", 0
        limits = GateLimits(  # the server's defaults
            max_kl=0.25, min_margin=0.12, min_diversity=0.7, max_drop=0.1, max_stretch=2.0
        )
        rules = DecisionRules(margin=0.05, queries=192, max_overturned=0.18, max_novel=0.25)
        probes = ProbeSet(
            draws=GateDraws(engine=self._engine, share=LearningShare(alone=1024, beside=1024)),
            reservoir=self._reservoir,
            kinds=AnswerKinds(),
            rules=ProbeRules(minimum=16, rollouts=8, refresh=4, temperature=1.0, seconds=60.0),
        )
        self._trial = Trial(
            probes, AnswerKinds(), Policy("ratchet", "base"), TrialRules(rules, limits)
        )

    def passes(self, asked: Sequence[Question], kl: float) -> bool:
        """Judge the trainer's weights."""
        for question in asked:
            message = {"role": "user", "content": question.text}
            self._reservoir.add(question.text, Query([message], {}))
        self._judged += 1
        name = f"v{self._judged}"
        self._engine.weights[name] = self._trainer._adapter_state()
        verdict = asyncio.run(self._trial.compare(name, {"parent": self._live, "base": "base"}, kl))
        self._engine.show(name)
        if verdict.passed:
            self._live = name
        return verdict.passed


class _LocalEngine(ScriptedEngine):
    """Samples from the trainer's own model under any of several adapter weights."""

    def __init__(self, trainer: LoraTrainer, tokenizer: Any) -> None:
        super().__init__(lambda *_: [])
        self._trainer, self._tokenizer = trainer, tokenizer
        self.weights: dict[str, Any] = {}

    def show(self, name: str) -> None:
        """Put the adapter weights of that name into the model."""
        peft.set_peft_model_state_dict(self._trainer._peft, self.weights[name])

    @asynccontextmanager
    async def draw(self, request: EngineRequest) -> AsyncGenerator[Batches[Draw]]:
        prompt, options = request.prompt, request.options
        assert is_chat(prompt)
        [message] = prompt
        question = Question("", message["content"], "", 0, "")
        generator = torch.Generator().manual_seed(options["seed"])
        decoding = Decoding(options["n"], options["temperature"])
        wanted = self._trainer.model, self._tokenizer, [question], decoding
        if request.model == "base":
            with self._trainer._peft.disable_adapter():
                [replies] = sample(*wanted, generator=generator)
        else:
            self.show(request.model)
            [replies] = sample(*wanted, generator=generator)
        draws = [Draw(index, [1], {}, reply.rollout) for index, reply in enumerate(replies)]

        async def all_at_once() -> AsyncIterator[Sequence[Draw]]:
            yield draws

        yield all_at_once()


def _trl(course: Course) -> dict[str, Any]:
    """TRL's own loop: its sampling, its loss; only the reward is ours, by the same answers."""
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    stream, held_out = course.questions()
    prompts = [prompt_text(question.text) for question in stream]
    kind = MathAnswers()

    def majority(completions: list[str], **_: Any) -> list[float]:
        rewards: list[float] = []
        for start in range(0, len(completions), _ROLLOUTS):
            answers = [
                math_answer(text, last_number=True)
                for text in completions[start : start + _ROLLOUTS]
            ]
            tally = kind.tally(answers)
            winner = take_vote(tally).cluster
            rewards += [float(winner is not None and c == winner) for c in tally.clusters]
        return rewards

    curve: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
            if state.global_step % _EVERY == 0:
                model.eval()
                curve.append(_accuracy(model.get_base_model(), tokenizer, held_out))
                model.train()

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        reward_funcs=majority,
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, beta=0.001, loss_type="dapo",
            learning_rate=course.rate, lr_scheduler_type="constant", max_steps=course.updates,
            per_device_train_batch_size=_GROUPS * _ROLLOUTS, num_generations=_ROLLOUTS,
            generation_batch_size=_GROUPS * _ROLLOUTS, max_completion_length=MAX_NEW_TOKENS,
            temperature=1.0, epsilon_high=0.28, gradient_checkpointing=False, report_to=[],
            shuffle_dataset=False, seed=course.seed, disable_tqdm=True, save_strategy="no",
            weight_decay=0.01, logging_steps=1000,
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=[Watch()],
    )  # fmt: skip
    base = _accuracy(trainer.model.get_base_model(), tokenizer, held_out)
    trainer.train()
    return {"avg": [base, *curve]}


if __name__ == "__main__":
    main()
