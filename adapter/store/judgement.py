"""What a server found of a version, step by step; the ledger keeps all of it.

The names that these numbers have on record are made here, and read back through
`AdapterRelease.numbers`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Step(StrEnum):
    """The steps of a promotion in their order, and the watch over the live version after them."""

    LINEAGE = "lineage"
    FILES = "files"
    PARITY = "parity"
    TRIAL = "trial"
    GUARDS = "guards"
    CANARY = "canary"
    MONITOR = "monitor"


class Cause(StrEnum):
    """Why a candidate is turned away; docs/rejections.md has a section for each."""

    PARENT_NOT_LIVE = "parent_not_live"
    ENGINE_ENDED = "engine_ended"
    UNUSABLE = "unusable"
    ENGINE_DIFFERS = "engine_differs"
    NO_CHANGE = "no_change"
    NOT_APPLIED = "not_applied"
    FAR_FROM_BASE = "far_from_base"
    IGNORANT_BASE = "ignorant_base"
    COLLAPSE = "collapse"
    AGREEMENT = "agreement"
    ANSWERED_SHARE = "answered_share"
    LENGTH = "length"
    WORSE = "worse"
    SLICE = "slice"
    OVERTURNED = "overturned"
    UNDECIDED = "undecided"
    GUARD = "guard"
    LIKELIHOOD = "likelihood"


# What a step's numbers and seconds are called on record, where it is not the step's own name.
_PREFIX = {Step.TRIAL: "gate"}
_STAGE = {Step.LINEAGE: "wait", Step.FILES: "load", Step.TRIAL: "gate"}


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """One step's verdict in words, the `cause` if it turns the candidate away, or if the guards
    found harm and let it pass, the finite numbers it was decided on, and the seconds it took: of
    the lineage step, those since publication. Of a comparison, the `reference` and the `slice` of
    the traffic that decided, "" for all of it, and the identifiers of queries that were `lost`."""

    step: Step
    passed: bool
    reason: str = ""
    cause: Cause | None = None
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0
    reference: str = ""
    slice: str = ""
    lost: Sequence[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        # JSON has no other numbers, and what stands in their place is read as None.
        known = {name: n for name, n in self.numbers.items() if n is not None and math.isfinite(n)}  # pyright: ignore[reportUnnecessaryComparison]
        object.__setattr__(self, "numbers", known)

    @property
    def harmed(self) -> bool:
        """Whether the guards found harm and let it pass."""
        return self.step is Step.GUARDS and self.passed and self.cause is not None

    @property
    def stage(self) -> str:
        """The step's name in timings."""
        return _STAGE.get(self.step, self.step.value)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "StepVerdict":
        """A verdict from its parsed JSON."""
        fields: dict[str, Any] = {**record, "step": Step(record["step"])}
        if record["cause"] is not None:
            fields["cause"] = Cause(record["cause"])
        return StepVerdict(**fields)


def turned_away(
    step: Step,
    cause: Cause,
    reason: str,
    numbers: Mapping[str, float] | None = None,
    **where: Any,
) -> StepVerdict:
    """A verdict that ends a promotion. `where` are the fields of the verdict that say where it was
    found."""
    found = numbers or {}
    return StepVerdict(step, passed=False, reason=reason, cause=cause, numbers=found, **where)


def numbers_on_record(steps: Iterable[StepVerdict]) -> dict[str, float]:
    """All numbers of these steps by name, and their seconds, with the total."""
    steps = list(steps)
    found = {
        f"{_PREFIX.get(verdict.step, verdict.step.value)}/{name}": value
        for verdict in steps
        for name, value in verdict.numbers.items()
    }
    if steps:
        found |= {f"seconds/{verdict.stage}": verdict.seconds for verdict in steps}
        found["seconds/total"] = sum(verdict.seconds for verdict in steps)
    return found
