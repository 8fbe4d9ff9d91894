"""`ratchet plan`: what a stack needs in memory, before anything is started or fetched."""

import argparse
import json
import re
from dataclasses import asdict

from adapter.training.memory.host import host_memory
from adapter.training.memory.plan import GIB, DoesNotFit
from adapter.training.memory.shape import ShapeUnknown
from ratchet.errors import ConfigurationError, as_configuration_error
from ratchet.local.machine import gpus, model_config
from ratchet.memory import StackPlan, plan_stack
from ratchet.settings import StackSettings, flags_of, read


def plan(arguments: argparse.Namespace) -> int:
    """Print the plan, as a table or as JSON; 2 with the reason if it does not fit."""
    settings = read(StackSettings, flags_of(arguments))
    cards, card = cards_of(arguments.gpu)
    # On GPUs that are elsewhere, the host is elsewhere too.
    here = arguments.gpu in (None, "none") and arguments.host_gib is None
    host = host_memory().total if here else arguments.host_gib and int(arguments.host_gib * GIB)
    with as_configuration_error(DoesNotFit, ShapeUnknown):
        made = plan_stack(settings, model_config(settings.model), card=card, cards=cards, host=host)
    print(as_json(made) if arguments.json else "\n".join(made.lines()))
    return 0


def cards_of(given: str | None) -> tuple[int, int]:
    """How many GPUs, and bytes of each: of "80", "2x24" or "none"; None looks at this machine, and
    takes the smallest of its GPUs for all. Raises ConfigurationError."""
    if given is None:
        found = gpus()
        return len(found), min(found, default=0)
    if given == "none":
        return 0, 0
    match = re.fullmatch(r"(?:([1-9]\d?)x)?(\d{1,4}(?:\.\d+)?)", given)
    if match is None or not float(match[2]):
        raise ConfigurationError(f"--gpu: {given!r} is none of 24, 2x24 or none (GiB a GPU)")
    return int(match[1] or 1), int(float(match[2]) * GIB)


def as_json(made: StackPlan) -> str:
    """Bytes by place and item, and the settings chosen."""
    places = dict.fromkeys(item.place for item in made.items)
    return json.dumps(
        {
            "items": [asdict(item) for item in made.items],
            "bytes": {place: made.total(place) for place in places},
            "settings": dict(made.chosen),
            "notes": list(made.notes),
        },
        indent=1,
    )
