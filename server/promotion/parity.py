"""Whether the engine runs the adapter that the trainer made: compared on pinned tokens."""

import asyncio
from dataclasses import dataclass
from statistics import fmean

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease
from server.engine.base import Engine
from server.promotion.steps import verdict_or_unusable


@dataclass(frozen=True, slots=True)
class Parity:
    """Mean absolute differences in nats per token: engine to trainer, engine to base, and as
    `change` trainer to base. `worst` is the largest difference between engine and trainer."""

    to_trainer: float
    to_base: float
    worst: float
    change: float

    def verdict(self, tolerance: float) -> StepVerdict:
        """The step's verdict. If the adapter is not applied, the engine's scores are base's."""
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


@dataclass(frozen=True, slots=True)
class ParityProbe:
    """Scores the pinned tokens that came with an adapter, which the engine has loaded."""

    engine: Engine
    folders: AdapterFolders
    tolerance: float

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        return await verdict_or_unusable(self.engine, Step.PARITY, self._probe(release))

    async def _probe(self, release: AdapterRelease) -> StepVerdict:
        sheet = ProbeSheet.read(self.folders.root / release.folder)
        parity = await probe_parity(self.engine, release.folder, sheet)
        return parity.verdict(self.tolerance)


async def probe_parity(engine: Engine, name: str, sheet: ProbeSheet) -> Parity:
    """Score the sheet's sequences under `name` and compare. Raises EngineError, and ValueError if
    the sheet is empty."""
    scored = await asyncio.gather(*(engine.score(name, row) for row in sheet.sequences))
    tokens = [
        token
        for rows in zip(scored, sheet.adapter, sheet.base, strict=True)
        for token in zip(*rows, strict=True)
    ]
    if not tokens:
        raise ValueError("the probe sheet is empty")
    to_trainer = [abs(engine - trainer) for engine, trainer, _ in tokens]
    return Parity(
        to_trainer=fmean(to_trainer),
        to_base=fmean(abs(engine - base) for engine, _, base in tokens),
        worst=max(to_trainer),
        change=fmean(abs(trainer - base) for _, trainer, base in tokens),
    )
