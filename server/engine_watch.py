"""Asks the engine for one token every few seconds: its own health page has been seen lying."""

import asyncio
import logging
from collections.abc import Callable

from server.engine import Engine, EngineError
from server.metrics import ServerMetrics

log = logging.getLogger("ratchet.engine")


class EngineWatch:
    """Knows whether the engine generates. `run` until cancelled."""

    def __init__(
        self,
        engine: Engine,
        seconds: float,
        metrics: ServerMetrics,
        on_return: Callable[[], None],
    ) -> None:
        self._engine, self._seconds, self._metrics = engine, seconds, metrics
        self._on_return = on_return
        self.up = False

    async def run(self) -> None:
        """Probe for ever; call `on_return` each time the engine comes (back) up."""
        while True:
            try:
                await self._engine.probe()
            except EngineError as error:
                if self.up:
                    log.warning("engine lost: %s", error)
                self.up = False
            else:
                if not self.up:
                    self._on_return()
                self.up = True
            self._metrics.engine_up.set(self.up)
            await asyncio.sleep(self._seconds)
