"""One trainer made of several processes: rank 0 learns as ever, and has the others do the same.

Rank 0 alone reads groups, holds the lease, and writes. The other ranks need neither Redis nor the
adapters folder: groups, weights and settings reach them as orders.
"""

import asyncio
import logging
import tempfile
import threading
from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from adapter.settings import AdapterSettings
from adapter.store.wire import pack, unpack
from adapter.tasks import beside
from adapter.trainer import TrainerLost, TrainingGroup, UpdateDiverged
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.orders import Orders
from adapter.training.ranks import Ranks
from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

T = TypeVar("T")

_BEAT_SECONDS = 5.0


class SharedTrainer:
    """Rank 0's trainer. Whatever fails here in the midst of an order leaves the ranks out of step,
    so it ends as TrainerLost: the process is to end, and what launched it to start all afresh."""

    def __init__(self, settings: AdapterSettings, ranks: Ranks) -> None:
        self._turn = threading.Lock()
        self._orders = Orders(settings.peer_seconds)
        with self._order({"settings": settings.model_dump(mode="json")}):
            self._trainer = LoraTrainer(settings, ranks)

    def load(self, folder: Path | None) -> None:
        files = [] if folder is None else sorted(f for f in folder.iterdir() if f.is_file())
        names = None if folder is None else [file.name for file in files]
        with self._order({"do": "load", "files": names}, [file.read_bytes() for file in files]):
            self._trainer.load(folder)

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        with self._order({"do": "signals", "names": sorted(names)}, [pack(group)]):
            return self._trainer.signals(group, names)

    def check(self, group: RolloutGroup) -> None:
        self._trainer.check(group)

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        with self._order({"do": "dry_run", **_advantages(batch)}, _packed(batch)):
            self._trainer.dry_run(batch)

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        with self._order({"do": "update", **_advantages(batch)}, _packed(batch)):
            return self._trainer.update(batch)

    def undo(self) -> None:
        with self._order({"do": "undo"}):
            self._trainer.undo()

    def save(self, folder: Path) -> None:
        with self._order({"do": "probe"}):
            self._trainer.save(folder)

    async def attended(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while making sure that the other ranks are there, also when there is nothing to
        learn; then let them go. Raises TrainerLost as soon as one is missed."""
        try:
            return await beside(self._attend(), work)
        finally:
            with suppress(TrainerLost):
                await asyncio.to_thread(self._dismiss)

    async def _attend(self) -> NoReturn:
        while True:
            await asyncio.to_thread(self._beat)
            await asyncio.sleep(_BEAT_SECONDS)

    def _beat(self) -> None:
        if self._turn.acquire(blocking=False):  # an order under way is as good
            try:
                self._orders.tell({"do": "wait"})
            finally:
                self._turn.release()

    def _dismiss(self) -> None:
        with self._turn:
            self._orders.tell({"do": "stop"})

    @contextmanager
    def _order(self, order: Mapping[str, Any], parts: Sequence[bytes] = ()) -> Generator[None]:
        with self._turn:
            try:
                self._orders.tell(order, parts)
                yield
            except (UpdateDiverged, OSError, TrainerLost):
                raise  # the first on all ranks alike, the second after all was done
            except Exception as error:
                raise TrainerLost(f"out of step: {error!r}") from error


def _advantages(batch: Sequence[TrainingGroup]) -> dict[str, Any]:
    return {"advantages": [list(tg.advantages) for tg in batch]}


def _packed(batch: Sequence[TrainingGroup]) -> list[bytes]:
    return [pack(tg.group) for tg in batch]


def follow(ranks: Ranks, patience: float) -> int:
    """Do what rank 0 orders until it says stop; returns the exit status, 1 if it is gone."""
    orders = Orders(patience)
    try:
        given, _ = orders.hear()
        trainer = LoraTrainer(AdapterSettings.model_validate(given["settings"]), ranks)
        while True:
            order, parts = orders.hear()
            if order["do"] == "stop":
                return 0
            with suppress(UpdateDiverged):
                _obey(trainer, order, parts)
    except TrainerLost as error:
        log.error("rank %d stops: %s", ranks.rank, error)
        return 1


def _obey(trainer: LoraTrainer, order: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    match order["do"]:
        case "load" if order["files"] is None:
            trainer.load(None)
        case "load":
            with tempfile.TemporaryDirectory() as folder:
                for name, data in zip(order["files"], parts, strict=True):
                    (Path(folder) / name).write_bytes(data)
                trainer.load(Path(folder))
        case "signals":
            trainer.signals(unpack(parts[0]), frozenset(order["names"]))
        case "update" | "dry_run":
            pairs = zip(parts, order["advantages"], strict=True)
            batch = [TrainingGroup(unpack(part), row) for part, row in pairs]
            (trainer.update if order["do"] == "update" else trainer.dry_run)(batch)
        case "undo":
            trainer.undo()
        case "probe":
            trainer.probe_sheet()
        case _:
            pass  # a sign of life
