"""Whether the engine runs the adapter that the trainer made: compared on pinned tokens.

Engine and trainer round differently, in bf16 by far more than an update moves a token. So the
engine is compared with itself: by how much each token's log-probability changes from base to
adapter, against the same change in the trainer. Rounding averages out over the tokens.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease
from adapter.tasks import together
from server.engine.base import Engine
from server.promotion.steps import verdict_or_unusable

_PORTION = 4
"""Sequences that are scored at first; as many again as before while the error is too large."""
_PRECISE = 0.02
"""Standard error of `applied` that is small enough."""
_MOST = 1.5
_ERRORS = 4.0
"""Standard errors by which `applied` must be above 0, and may be above `_MOST`."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Mean absolute differences in nats per token: `to_trainer` and `floor` between engine and
    trainer, with the adapter and for base; `to_base` between the engine's adapter and base, and
    `change` between the trainer's. `worst` is the largest between engine and trainer. `applied` is
    the least-squares share of the trainer's change that the engine shows, with its standard
    `error`: 0 if the engine answers like base, 1 if it runs the same adapter in the same precision.
    In bf16 it is less after a first small step (a third, say): what an adapter adds to an output is
    lost where it is below half a unit in that output's last place."""

    to_trainer: float
    to_base: float
    worst: float
    change: float
    floor: float
    applied: float
    error: float

    @staticmethod
    def of(tokens: Sequence[tuple[float, float, float, float]]) -> "Parity":
        """From log-probabilities of each token: engine's adapter and base, trainer's adapter and
        base. Raises ValueError if there are none."""
        if not tokens:
            raise ValueError("the probe sheet is empty")
        apart = [abs(engine - trainer) for engine, _, trainer, _ in tokens]
        moved = [(engine - base, trainer - own) for engine, base, trainer, own in tokens]
        squares = math.fsum(theirs * theirs for _, theirs in moved)
        applied = math.fsum(a * b for a, b in moved) / squares if squares else 0.0
        rest = math.fsum((ours - applied * theirs) ** 2 for ours, theirs in moved)
        variance = rest / max(1, len(moved) - 1)
        return Parity(
            to_trainer=fmean(apart),
            to_base=fmean(abs(ours) for ours, _ in moved),
            worst=max(apart),
            change=fmean(abs(theirs) for _, theirs in moved),
            floor=fmean(abs(base - own) for _, base, _, own in tokens),
            applied=applied,
            error=math.sqrt(variance / squares) if squares else 0.0,
        )

    def verdict(self, tolerance: float) -> StepVerdict:
        """The step's verdict. `tolerance` is added to what engine and trainer differ by on base."""
        numbers = {
            "to_trainer": self.to_trainer, "to_base": self.to_base, "worst": self.worst,
            "floor": self.floor, "applied": self.applied, "error": self.error,
        }  # fmt: skip
        if not self.floor <= _worst_floor(tolerance):  # NaN fails too
            cause = Cause.ENGINE_DIFFERS
            reason = f"engine and trainer differ by {self.floor:.2g} nats per token on base"
        elif not self.to_trainer <= tolerance + 2 * self.floor:
            cause = Cause.ENGINE_DIFFERS
            reason = f"engine and trainer differ by {self.to_trainer:.2g} nats per token"
        elif self.change == 0.0:
            cause, reason = Cause.NO_CHANGE, "the adapter does not differ from base"
        elif self.applied <= _ERRORS * self.error:
            cause = Cause.NOT_APPLIED
            reason = f"the engine shows {self._shown} of the adapter's change: it is not applied"
        elif self.applied > _MOST + _ERRORS * self.error:
            cause = Cause.ENGINE_DIFFERS
            reason = f"the engine shows {self._shown} of the adapter's change"
        else:
            return StepVerdict(Step.PARITY, passed=True, numbers=numbers)
        return turned_away(Step.PARITY, cause, reason, numbers)

    @property
    def _shown(self) -> str:
        return f"{self.applied:.0%} ± {self.error:.0%}"


@dataclass(frozen=True, slots=True)
class ParityProbe:
    """Scores the pinned tokens that came with an adapter, which the engine has loaded. `base` is
    the base model's name there."""

    engine: Engine
    base: str
    folders: AdapterFolders
    tolerance: float
    on_tokens: Callable[[int], None] = lambda _: None

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        return await verdict_or_unusable(self.engine, Step.PARITY, self._probe(release))

    async def _probe(self, release: AdapterRelease) -> StepVerdict:
        sheet = ProbeSheet.read(self.folders.path(release))
        parity = await probe_parity(self.engine, release.folder, self.base, sheet, self.on_tokens)
        return parity.verdict(self.tolerance)


async def probe_parity(
    engine: Engine,
    name: str,
    base: str,
    sheet: ProbeSheet,
    on_tokens: Callable[[int], None] = lambda _: None,
) -> Parity:
    """Score the sheet's sequences under `name` and `base`, as many as it takes, and compare: those
    first that the adapter changes most. `on_tokens` counts what is scored. Raises EngineError, and
    ValueError if the sheet is empty or does not fit its sequences."""
    tokens: list[tuple[float, float, float, float]] = []
    done, count = 0, len(sheet.sequences)
    moved = [math.dist(*rows) for rows in zip(sheet.adapter, sheet.base, strict=True)]
    order = sorted(range(count), key=lambda index: -moved[index])
    while True:
        part = order[done : max(_PORTION, 2 * done)]
        for index in part:  # one after another: scoring many at once holds up clients for seconds
            ids = sheet.sequences[index]
            ours, bases = await together(engine.score(model, ids) for model in (name, base))
            on_tokens(2 * len(ids))
            first = sheet.start(index) - 1
            columns = (ours[first:], bases[first:], sheet.adapter[index], sheet.base[index])
            tokens += zip(*columns, strict=True)
        parity, done = Parity.of(tokens), done + len(part)
        if done >= count or parity.error <= _PRECISE:
            return parity


def _worst_floor(tolerance: float) -> float:
    """Largest mean difference on base: a tenth of a nat in bf16, with twice as much for others."""
    return 0.2 + tolerance
