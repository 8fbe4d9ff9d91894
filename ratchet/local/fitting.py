"""The memory plan at the start of a local stack: what does not fit is said before anything runs."""

from pathlib import Path

from adapter.training.memory.host import host_memory
from adapter.training.memory.plan import DoesNotFit
from adapter.training.memory.shape import ShapeUnknown
from ratchet.errors import ConfigurationError
from ratchet.local.machine import gpus, model_config
from ratchet.local.programs import engine_is_cpu
from ratchet.memory import StackPlan, plan_stack
from ratchet.settings import StackSettings


def plan_here(settings: StackSettings) -> StackPlan | None:
    """The plan of a stack on this machine, engine and learner on its first GPU if it has one; None
    for a model that is still to be fetched or that cannot be planned. Raises ConfigurationError."""
    try:
        config = model_config(settings.model)
    except ConfigurationError:
        if Path(settings.model).is_dir():
            raise
        return None
    found = [] if engine_is_cpu() else gpus()
    card, cards = (found[0], 1) if found else (0, 0)
    try:
        return plan_stack(settings, config, card=card, cards=cards, host=host_memory().total)
    except ShapeUnknown:
        return None
    except DoesNotFit as error:
        raise ConfigurationError(f"memory: {error}") from None


def fitted(settings: StackSettings) -> StackSettings:
    """The settings, with what the plan chose for the GPU; a learner on a CPU plans for itself once
    it sees what is free. Raises ConfigurationError."""
    plan = plan_here(settings)
    if plan is None or "gpu_memory_utilization" not in plan.chosen:
        return settings
    return settings.model_copy(update=dict(plan.chosen))
