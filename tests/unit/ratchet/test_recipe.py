"""Settings that the models which come along are run with."""

import os

from ratchet.recipe import with_all_cores, with_few_questions, with_recipe
from ratchet.settings import StackSettings


def test_all_cores_are_for_both_unless_either_is_set() -> None:
    cores = os.cpu_count()
    given = with_all_cores(StackSettings())
    assert (given.threads, given.engine_threads) == (cores, cores)
    assert with_all_cores(StackSettings(threads=1)).engine_threads == 0
    assert with_all_cores(StackSettings(engine_threads=1)).threads == 0


def test_few_questions_are_not_held_out() -> None:
    few = with_few_questions(StackSettings(), 1023)
    assert (few.gate_holdout, few.gate_prompts) == (0, 16)
    many = with_few_questions(StackSettings(), 1024)
    assert (many.gate_holdout, many.gate_prompts) == (8, 128)
    given = with_few_questions(StackSettings(gate_holdout=4), 100)
    assert (given.gate_holdout, given.gate_prompts) == (4, 16)
    tiny = with_recipe(StackSettings())
    assert (tiny.gate_holdout, tiny.gate_prompts) == (0, 16)
    assert with_few_questions(tiny, 1) == tiny
