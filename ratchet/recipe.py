"""The recipes of the small models that Ratchet brings along, or makes."""

import os
from typing import Any

from adapter.settings import ChannelSettings
from ratchet.local.models import SMOLLM2, folder_of
from ratchet.settings import StackSettings

NUMBERS = '{"kind":"math","last_number":true}'
"""How replies are read whose answers are numbers, marked or not, as those of small models are."""

TINY_RECIPE: dict[str, Any] = {
    "answer": NUMBERS,
    "dtype": "float32",
    "learning_rate": 5e-4,
    "groups_per_update": 16,
    "rollouts": 16,
    "train_rollouts": 16,
    "gate_rollouts": 4,
    "gate_holdout": 0,
    "gate_prompts": 16,
    "gate_guard_items": 16,
    "gate_guard_tokens": 32,
    "threads": 1,
    "micro_batch_tokens": 4096,
}
"""Settings of the tiny model in place of the defaults."""

SMOLLM2_RECIPE: dict[str, Any] = {
    "learning_rate": 2e-4,
    "reward": "majority",
    "rollouts": 16,
    "train_rollouts": 16,
    "learn_rollouts": 8,
    "updates_per_candidate": 3,
    "rollout_temperature": 0.7,
    "train_support": 0.3,
    "gate_max_stretch": 10.0,
    "gate_max_kl": 2.0,
    "gate_rollouts": 4,
    "learning_rollouts_beside": 4,
    "gate_holdout": 0,
    "gate_prompts": 16,
    "gate_guard_items": 24,
    "gate_guard_tokens": 64,
    "micro_batch_tokens": 1024,
    "max_model_len": 1024,
}
"""Settings of SmolLM2-135M on two cores in place of the defaults. At T 1 only 40% of its rollouts
state an answer. Where 5 of 16 rollouts agree 79% are right, where 2 do 65%. Who learns to answer
briefly may become many times shorter than base. It does a fifth of the guards' tasks, and all of
them take two minutes."""


def with_recipe(settings: StackSettings) -> StackSettings:
    """The settings, with the recipe for what is not set if one of these models runs. Makes the
    model if it is not there yet. Raises ConfigurationError."""
    given = settings.model_fields_set
    if settings.model == SMOLLM2:
        folder = folder_of(settings.model, settings.models_dir)
        recipe = {**SMOLLM2_RECIPE, "model": str(folder)}
        given = given - {"model"}
    elif settings.model == ChannelSettings.model_fields["model"].default:
        recipe = TINY_RECIPE
    else:
        return settings
    return settings.model_copy(
        update={name: value for name, value in recipe.items() if name not in given}
    )


def with_few_questions(settings: StackSettings, questions: int) -> StackSettings:
    """The settings, with none of so few different questions kept from learning for the gate unless
    that is set, where the gate would never see enough of them."""
    if questions >= settings.gate_holdout * settings.gate_prompts:
        return settings
    few = {"gate_holdout": 0, "gate_prompts": min(16, settings.gate_prompts)}
    given = settings.model_fields_set
    return settings.model_copy(update={k: v for k, v in few.items() if k not in given})


def with_all_cores(settings: StackSettings) -> StackSettings:
    """The settings, with every core for engine and learner alike unless either is set: for a stack
    whose questions wait while it learns. Where they do not, either would wait for the other."""
    names = {"engine_threads", "threads"}
    if names & settings.model_fields_set:
        return settings
    return settings.model_copy(update=dict.fromkeys(names, os.cpu_count() or 1))
