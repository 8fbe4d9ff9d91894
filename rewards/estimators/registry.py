"""All reward estimators, by name."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rewards.estimators.confidence import ConfidenceMajority, Rlpr, SelfCertainty
from rewards.estimators.dare import Dare
from rewards.estimators.estimate import RewardEstimator
from rewards.estimators.evol_rl import EvolRl
from rewards.estimators.majority import CoReward, GroundTruth, Majority, SoftMajority
from rewards.estimators.random_reward import RandomReward
from rewards.estimators.restrain import Restrain
from rewards.estimators.scrl import Scrl
from rewards.estimators.sr_ttrl import SrTtrl
from rewards.estimators.ttrl_guard import TtrlGuard

ESTIMATORS: Mapping[str, Callable[..., RewardEstimator]] = {
    "majority": Majority,
    "dare": Dare,
    "soft_majority": SoftMajority,
    "scrl": Scrl,
    "confidence_majority": ConfidenceMajority,
    "restrain": Restrain,
    "self_certainty": SelfCertainty,
    "rlpr": Rlpr,
    "co_reward": CoReward,
    "evol_rl": EvolRl,
    "ttrl_guard": TtrlGuard,
    "sr_ttrl": SrTtrl,
    "random": RandomReward,
    "ground_truth": GroundTruth,
}
"""Frozen dataclasses; their fields are their options."""


def build(name: str, options: Mapping[str, str] | None = None) -> RewardEstimator:
    """An estimator by name, its options given as text. Raises ValueError naming what is wrong."""
    if name not in ESTIMATORS:
        raise ValueError(f"unknown reward {name!r}; there are {', '.join(ESTIMATORS)}")
    kind: Any = ESTIMATORS[name]
    known = [field.name for field in fields(kind)]
    for key in options or {}:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(known) or 'none'}")
    given = {key: None if value == "none" else value for key, value in (options or {}).items()}
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{name}: {first['loc'][0]}: {first['msg']}") from None


def options_of(settings: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises ValueError for one without `=`."""
    options: dict[str, str] = {}
    for setting in settings:
        if not setting.strip():
            continue
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} is not key=value")
        options[key.strip()] = value.strip()
    return options
