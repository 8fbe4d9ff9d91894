"""A real vLLM for a bench, started as `ratchet up` starts it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from evals.arithmetic.rollouts import MODEL
from ratchet.local.child import end_with_parent
from ratchet.local.programs import engine_command, engine_environment, free_port
from ratchet.settings import StackSettings
from server.engine.base import Engine, EngineError

_SECONDS = 300.0


@contextmanager
def engine(folder: Path, settings: StackSettings | None = None) -> Generator[str, None, None]:
    """Its address; whether it answers yet is not waited for. The arithmetic model in fp32, or as
    the settings say. Its log goes to `folder`."""
    settings = settings or StackSettings(model=str(MODEL), dtype="float32")
    port = free_port()
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            engine_command(settings, port),
            env={**os.environ, **engine_environment(settings, cpu=True)},
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


async def until_up(engine: Engine) -> None:
    """Wait until it generates."""
    async with asyncio.timeout(_SECONDS):
        while True:
            try:
                return await engine.probe()
            except EngineError:
                await asyncio.sleep(0.2)
