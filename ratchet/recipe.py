"""The recipe of the tiny model, which is what runs where no other model is named."""

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
"""What the tiny model wants beyond the product's defaults."""


def with_recipe(settings: StackSettings) -> StackSettings:
    """The settings, with the recipe where the tiny model runs and nothing else was asked for."""
    if settings.model != ChannelSettings.model_fields["model"].default:
        return settings
    given = settings.model_fields_set
    return settings.model_copy(
        update={name: value for name, value in TINY_RECIPE.items() if name not in given}
    )
