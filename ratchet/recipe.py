"""The recipe of the tiny model, which runs where no other model is set."""

from typing import Any

from adapter.settings import ChannelSettings
from ratchet.settings import StackSettings

TINY_RECIPE: dict[str, Any] = {
    "learning_rate": 5e-4,
    "groups_per_update": 16,
    "rollouts": 32,
    "gate_rollouts": 4,
    "threads": 1,
    "micro_batch_tokens": 4096,
}
"""Settings of the tiny model in place of the defaults."""


def with_recipe(settings: StackSettings) -> StackSettings:
    """The settings, with the recipe for what is not set if the tiny model runs."""
    if settings.model != ChannelSettings.model_fields["model"].default:
        return settings
    given = settings.model_fields_set
    return settings.model_copy(
        update={name: value for name, value in TINY_RECIPE.items() if name not in given}
    )
