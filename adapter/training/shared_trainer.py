"""One trainer made of several processes: rank 0 learns, and commands the others to do the same.

Rank 0 alone reads groups, holds the lease and writes. The other ranks need neither Redis nor the
adapters folder: commands bring them groups, weights and settings.
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
from adapter.store.adapter_folders import SEAL, learner_state
from adapter.store.wire import pack, unpack
from adapter.tasks import beside
from adapter.trainer import OutOfMemory, TrainerLost, TrainingGroup, UpdateDiverged
from adapter.training.commands import Commands
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.memory.devices import planned
from adapter.training.ranks import Ranks, device_for, dtype_for
from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

T = TypeVar("T")

_HEARTBEAT_SECONDS = 5.0


class SharedTrainer:
    """Rank 0's trainer. A failure within a command leaves the ranks out of step, so it is raised as
    TrainerLost: the process should end, and its launcher restart all of them."""

    def __init__(self, settings: AdapterSettings, ranks: Ranks) -> None:
        self._turn = threading.Lock()
        self._commands = Commands(settings.peer_seconds)
        device = ranks.device or device_for(settings.device)
        width = dtype_for(settings.dtype, device).itemsize
        settings = planned(settings, ranks, device, width)  # the same micro-batches on all ranks
        with self._command({"settings": settings.model_dump(mode="json")}):
            self._trainer = LoraTrainer(settings, ranks)

    def load(self, folder: Path | None) -> None:
        files = [] if folder is None else _files(folder)
        names = None if folder is None else [file.name for file in files]
        with self._command({"do": "load", "files": names}, [file.read_bytes() for file in files]):
            self._trainer.load(folder)

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        with self._command({"do": "signals", "names": sorted(names)}, [pack(group)]):
            return self._trainer.signals(group, names)

    def check(self, group: RolloutGroup) -> None:
        self._trainer.check(group)

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        with self._command(*_on_batch("dry_run", batch)):
            self._trainer.dry_run(batch)

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        with self._command(*_on_batch("update", batch)):
            return self._trainer.update(batch)

    def shrink(self, tokens: int) -> None:
        with self._command({"do": "shrink", "tokens": tokens}):
            self._trainer.shrink(tokens)

    def save(self, folder: Path) -> None:
        with self._command({"do": "probe"}):
            self._trainer.save(folder)

    async def with_heartbeats(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while checking that the other ranks live, also when there is nothing to learn;
        then stop them. Raises TrainerLost as soon as one is gone."""
        try:
            return await beside(self._heartbeats(), work)
        finally:
            with suppress(TrainerLost):
                await asyncio.to_thread(self._stop)

    async def _heartbeats(self) -> NoReturn:
        while True:
            await asyncio.to_thread(self._heartbeat)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _heartbeat(self) -> None:
        if self._turn.acquire(blocking=False):  # a command under way serves as well
            try:
                self._commands.send({"do": "wait"})
            finally:
                self._turn.release()

    def _stop(self) -> None:
        with self._turn:
            self._commands.send({"do": "stop"})

    @contextmanager
    def _command(self, command: Mapping[str, Any], parts: Sequence[bytes] = ()) -> Generator[None]:
        with self._turn:
            try:
                self._commands.send(command, parts)
                yield
            except (UpdateDiverged, OutOfMemory, OSError, TrainerLost):
                raise  # the first two on all ranks alike, the third after the command
            except Exception as error:
                raise TrainerLost(f"out of step: {error!r}") from error


def _files(folder: Path) -> list[Path]:
    """Of an adapter: what is served and what only a learner needs, whose names differ, so that the
    other ranks may keep all in one folder."""
    served = (file for file in folder.iterdir() if file.name != SEAL)
    state = learner_state(folder)
    private = state.iterdir() if state not in (None, folder) else ()
    return sorted(file for file in (*served, *private) if file.is_file())


def _on_batch(do: str, batch: Sequence[TrainingGroup]) -> tuple[dict[str, Any], list[bytes]]:
    """A command and its parts."""
    advantages = [list(tg.advantages) for tg in batch]
    return {"do": do, "advantages": advantages}, [pack(tg.group) for tg in batch]


def execute_commands(ranks: Ranks, patience: float) -> int:
    """Execute rank 0's commands until it sends stop. Returns the exit status, 1 if it is gone."""
    commands = Commands(patience)
    try:
        given, _ = commands.receive()
        trainer = LoraTrainer(AdapterSettings.model_validate(given["settings"]), ranks)
        while True:
            command, parts = commands.receive()
            if command["do"] == "stop":
                return 0
            with suppress(UpdateDiverged, OutOfMemory):
                _execute(trainer, command, parts)
    except TrainerLost as error:
        log.error("rank %d stops: %s", ranks.rank, error)
        return 1


def _execute(trainer: LoraTrainer, command: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    match command["do"]:
        case "load" if command["files"] is None:
            trainer.load(None)
        case "load":
            with tempfile.TemporaryDirectory() as folder:
                for name, data in zip(command["files"], parts, strict=True):
                    (Path(folder) / name).write_bytes(data)
                trainer.load(Path(folder))
        case "signals":
            trainer.signals(unpack(parts[0]), frozenset(command["names"]))
        case "update" | "dry_run":
            pairs = zip(parts, command["advantages"], strict=True)
            batch = [TrainingGroup(unpack(part), row) for part, row in pairs]
            (trainer.update if command["do"] == "update" else trainer.dry_run)(batch)
        case "shrink":
            trainer.shrink(command["tokens"])
        case "probe":
            trainer.probe_sheet()
        case _:
            pass  # a heartbeat
