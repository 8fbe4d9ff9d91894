"""Does the engine really run the adapter that the trainer made? Compared on pinned tokens."""

import asyncio
from dataclasses import dataclass

from adapter.store.probe_sheet import ProbeSheet
from server.engine.base import Engine


@dataclass(frozen=True, slots=True)
class Parity:
    """Mean absolute differences in nats per token: engine to trainer, and trainer to base.

    `worst` is the largest single difference between engine and trainer.
    """

    to_trainer: float
    to_base: float
    worst: float
    change: float

    def fault(self, tolerance: float) -> str | None:
        """What is wrong, or None. A silent no-op adapter reproduces base instead of the trainer."""
        if not self.to_trainer <= tolerance:  # NaN fails too
            return f"engine and trainer differ by {self.to_trainer:.2g} nats per token"
        if self.change == 0.0:
            return "the adapter does not differ from base"
        if self.to_base < self.to_trainer:
            return "the engine answers like base: the adapter is not applied"
        return None


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
