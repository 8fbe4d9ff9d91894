"""Makes the small arithmetic model: `python -m evals.arithmetic --seed 0 --out FOLDER`."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import torch

from evals.arithmetic.measurement import measure, table
from evals.arithmetic.questions import FAMILIES, questions
from evals.arithmetic.training import ARCHITECTURES, Recipe, save, train

# Guessing needs no skill, only the form of a reply.
_IGNORANT_STEPS = 200


def main() -> None:
    """Trains, saves, and prints the scores at evaluation settings."""
    parser = argparse.ArgumentParser(prog="python -m evals.arithmetic", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--minutes", type=float, help="stop after this long, whatever the steps")
    parser.add_argument("--ignorant", action="store_true", help="a model that only guesses")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="qwen2")
    parser.add_argument("--threads", type=int, default=1, help="more is faster, other bits")
    parser.add_argument("--questions", type=int, default=300, help="questions to measure on")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recipe = Recipe(
        seed=chosen.seed,
        minutes=chosen.minutes,
        ignorant=chosen.ignorant,
        architecture=chosen.architecture,
    )
    steps = chosen.steps or (_IGNORANT_STEPS if chosen.ignorant else recipe.steps)
    started = time.monotonic()
    model, tokenizer = train(dataclasses.replace(recipe, steps=steps))
    save(model, tokenizer, chosen.out)
    print(f"trained in {time.monotonic() - started:.0f} s, saved to {chosen.out}")
    for family in FAMILIES:
        print(f"\n{family}, 16 replies at T 0.6, top-p 0.95\n")
        print(table(measure(model, tokenizer, questions(7, chosen.questions, family=family))))


if __name__ == "__main__":
    main()
