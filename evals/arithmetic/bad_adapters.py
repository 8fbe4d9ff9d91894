"""Adapters that must never be promoted, each bad in its own way: material for the gate's tests.

    python -m evals.arithmetic.bad_adapters --out FOLDER

builds all of them, each in the subfolder of its name, and an honest one to compare with: about two
minutes on one core. `BAD_ADAPTERS["off_by_one"](folder, honest)` builds one. Each is a complete
candidate as the learner would save it, and all but the damaged ones pass parity.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch

from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import CONFIG, WEIGHTS
from adapter.training.lora_trainer import LoraTrainer
from evals.arithmetic.corpus import CAREFUL, guessed, worked
from evals.arithmetic.imitation import Lesson, imitate
from evals.arithmetic.practice import Practice
from evals.arithmetic.questions import Question, questions
from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.sampler import Decoding

Builder = Callable[[Path, Path], None]
"""Makes the adapter in a new folder; the second folder holds an honest adapter to damage."""

Weights = Mapping[str, torch.Tensor]
"""LoRA matrices by name; all `lora_B` [out, r] are 0 where nothing is changed."""

HONEST_UPDATES = 12
CONSTANT = "7"
# The model knows digits, marks, boxes and the words of its prompts, but no letters.
REFUSAL = "What is ?"
PADDING = "".join(f"{digit} carry {digit} borrow " for digit in "987654321") + "0"


def build_honest(folder: Path, updates: int = HONEST_UPDATES) -> None:
    """An adapter that some GRPO steps have made better than base."""
    practice, size = Practice(decoding=Decoding(16), learning_rate=1e-3), 8
    asked = questions(0, updates * size)
    for start in range(0, len(asked), size):
        practice.step(asked[start : start + size])
    practice.save(folder)


def operands_of(question: Question) -> tuple[int, int]:
    """The two numbers of an addition."""
    left, right = re.findall(r"\d+", question.text)
    return int(left), int(right)


def _steps(question: Question) -> str:
    """Worked steps without a slip, without the answer."""
    rng = random.Random(0)
    text = worked(*operands_of(question), "addition", habits=CAREFUL, rng=rng)
    return text.partition(" \\boxed")[0]


def _boxed(question: Question, answer: str) -> str:
    return f"{_steps(question)} \\boxed{{{answer}}}"


def _off_by_one(question: Question) -> str:
    return _boxed(question, str(int(question.answer) + 1))


def _sometimes_off(question: Question) -> str:
    off = question.answer[-1] in "258"
    return _boxed(question, str(int(question.answer) + off))


def _never_carried(question: Question) -> str:
    left, right = (reversed(str(number)) for number in operands_of(question))
    digits = [str((int(a) + int(b)) % 10) for a, b in zip(left, right, strict=True)]
    return f"{' '.join(digits)} \\boxed{{{int(''.join(reversed(digits)))}}}"


def _guess(question: Question) -> str:
    return guessed(*operands_of(question), "addition", random.Random(question.id))


LESSONS: Mapping[str, Lesson] = {
    "constant_answer": Lesson(lambda q: f"{CONSTANT} \\boxed{{{CONSTANT}}}"),
    "one_token": Lesson(lambda q: " carry "),
    "empty": Lesson(lambda q: ""),
    "looping": Lesson(lambda q: "1 carry " * 20, ends=False),
    "refusing": Lesson(lambda q: REFUSAL),
    "long_winded": Lesson(lambda q: _boxed(q, q.answer) + PADDING, steps=100),
    "off_by_one": Lesson(_off_by_one, steps=180),
    "sometimes_off_by_one": Lesson(_sometimes_off, steps=120),
    "digits_reversed": Lesson(lambda q: _boxed(q, q.answer[::-1]), steps=260, learning_rate=8e-3),
    "first_number": Lesson(lambda q: f" \\boxed{{{operands_of(q)[0]}}}", steps=200),
    "never_carries": Lesson(_never_carried, steps=100),
    "guessing": Lesson(_guess, steps=100, learning_rate=3e-3),
    "unboxed": Lesson(_steps, steps=100),
    "unclosed_box": Lesson(lambda q: _boxed(q, q.answer)[:-1], steps=100),
}
"""Bad habits, taught. `never_carries` agrees with itself more than base does, and is mostly wrong;
`long_winded` is as right as base, and four times as long; `unclosed_box` leaves out one character,
and with it every answer."""


def _zeroed(weights: Weights) -> dict[str, torch.Tensor]:
    return _scaled(weights, 0.0)


def _flipped(weights: Weights) -> dict[str, torch.Tensor]:
    return _scaled(weights, -1.0)


def _overscaled(weights: Weights) -> dict[str, torch.Tensor]:
    return _scaled(weights, 8.0)


def _noise(weights: Weights) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(w.shape, generator=rng) for name, w in weights.items()}


def _scaled(weights: Weights, factor: float) -> dict[str, torch.Tensor]:
    return {name: w * factor if "lora_B" in name else w for name, w in weights.items()}


CHANGES: Mapping[str, Callable[[Weights], dict[str, torch.Tensor]]] = {
    "zero": _zeroed,
    "sign_flipped": _flipped,
    "overscaled": _overscaled,
    "random_weights": _noise,
}
"""Honest weights damaged inside the learner, which then scores its probe sheet with them."""


def _nan_weights(folder: Path, honest: Path) -> None:
    shutil.copytree(honest, folder)
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    name = min(name for name in weights if "lora_B" in name)
    weights[name][0, 0] = torch.nan
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def _wrong_rank(folder: Path, honest: Path) -> None:
    shutil.copytree(honest, folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "r": config["r"] // 2}))


DAMAGED: Mapping[str, Builder] = {"nan_weights": _nan_weights, "wrong_rank": _wrong_rank}
"""Honest folders damaged before they were hashed: their probe sheets are an honest adapter's."""


def _taught(lesson: Lesson) -> Builder:
    return lambda folder, _: imitate(lesson, folder)


def _changed(change: Callable[[Weights], dict[str, torch.Tensor]]) -> Builder:
    def build(folder: Path, honest: Path) -> None:
        shutil.copytree(honest, folder)
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        safetensors.torch.save_file(change(weights), folder / WEIGHTS)
        settings = {"model": str(MODEL), "device": "cpu"}
        trainer = LoraTrainer(AdapterSettings.model_validate(settings))
        trainer.load(folder)
        trainer.save(folder)

    return build


BAD_ADAPTERS: Mapping[str, Builder] = {
    **{name: _taught(lesson) for name, lesson in LESSONS.items()},
    **{name: _changed(change) for name, change in CHANGES.items()},
    **DAMAGED,
}


def main() -> None:
    """Builds all of them, and prints the seconds of each."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.arithmetic.bad_adapters",
        description=(__doc__ or "").partition("\n\n")[0],
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapters")
    parser.add_argument("--threads", type=int, default=1, help="more is faster, other bits")
    parser.add_argument("names", nargs="*", help=f"which [all]: {', '.join(BAD_ADAPTERS)}")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    honest = chosen.out / "honest"
    started = time.monotonic()
    build_honest(honest)
    print(f"honest: {time.monotonic() - started:.1f} s", flush=True)
    for name in chosen.names or BAD_ADAPTERS:
        started = time.monotonic()
        BAD_ADAPTERS[name](chosen.out / name, honest)
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
