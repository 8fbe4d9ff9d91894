"""Does the engine really run the adapter that the trainer made? Compared on pinned tokens."""

import asyncio
from dataclasses import dataclass

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease
from server.engine.base import Engine
from server.promotion.steps import usable


@dataclass(frozen=True, slots=True)
class Parity:
    """Mean absolute differences in nats per token: engine to trainer, and trainer to base.

    `worst` is the largest single difference between engine and trainer.
    """

    to_trainer: float
    to_base: float
    worst: float
    change: float

    def verdict(self, tolerance: float) -> StepVerdict:
        """A silent no-op adapter reproduces base instead of the trainer."""
        numbers = {"to_trainer": self.to_trainer, "to_base": self.to_base, "worst": self.worst}
        if not self.to_trainer <= tolerance:  # NaN fails too
            cause = Cause.ENGINE_DIFFERS
            reason = f"engine and trainer differ by {self.to_trainer:.2g} nats per token"
        elif self.change == 0.0:
            cause, reason = Cause.NO_CHANGE, "the adapter does not differ from base"
        elif self.to_base < self.to_trainer:
            cause = Cause.NOT_APPLIED
            reason = "the engine answers like base: the adapter is not applied"
        else:
            return StepVerdict(Step.PARITY, passed=True, numbers=numbers)
        return turned_away(Step.PARITY, cause, reason, numbers)


class ParityProbe:
    """Scores the pinned tokens that came with an adapter, which the engine has loaded."""

    def __init__(self, engine: Engine, folders: AdapterFolders, tolerance: float) -> None:
        self._engine, self._folders, self._tolerance = engine, folders, tolerance

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        return await usable(self._engine, Step.PARITY, self._probe(release))

    async def _probe(self, release: AdapterRelease) -> StepVerdict:
        sheet = ProbeSheet.read(self._folders.root / release.folder)
        parity = await probe_parity(self._engine, release.folder, sheet)
        return parity.verdict(self._tolerance)


async def probe_parity(engine: Engine, name: str, sheet: ProbeSheet) -> Parity:
    """Score the sheet's sequences under `name` and compare. Raises EngineError, and ValueError if
    the sheet is empty."""
    engine_rows = await asyncio.gather(*(engine.score(name, row) for row in sheet.sequences))
    to_trainer: list[float] = []
    to_base: list[float] = []
    change: list[float] = []
    for got, adapter, base in zip(engine_rows, sheet.adapter, sheet.base, strict=True):
        for e, a, b in zip(got, adapter, base, strict=True):
            to_trainer.append(abs(e - a))
            to_base.append(abs(e - b))
            change.append(abs(a - b))
    count = len(to_trainer)
    if not count:
        raise ValueError("the probe sheet is empty")
    return Parity(
        sum(to_trainer) / count, sum(to_base) / count, max(to_trainer), sum(change) / count
    )
