"""Base answers as base, however many adapters the engine has held: its slots must not leak."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.gate_bench import Judge
from server.engine.base import Draw, EngineRequest, draw_all
from tests.engines import EngineProcess

pytestmark = [pytest.mark.integration, pytest.mark.lane("engine", 1)]

QUESTION = [{"role": "user", "content": "What is 478+356?"}]


def texts(draws: list[Draw]) -> list[str]:
    return [draw.rollout.text for draw in draws]


async def test_base_is_base_when_every_slot_is_taken(
    adapters: Callable[[str], Path], shared_engine: EngineProcess, tmp_path: Path
) -> None:
    options = {"n": 8, "temperature": 1.0, "seed": 5, "max_tokens": 40}
    async with Judge.at(shared_engine.url, tmp_path / "adapters") as judge:
        vllm = judge.parts.engine
        before = texts(await draw_all(vllm, EngineRequest("base", QUESTION, options)))
        for number in range(6):  # there are four slots
            await vllm.load(f"bad{number}", str(adapters("constant_answer")))
            asked = EngineRequest(f"bad{number}", QUESTION, options)
            assert texts(await draw_all(vllm, asked)) != before
        async with asyncio.TaskGroup() as tasks:  # in one batch with an adapter's requests
            many = EngineRequest("bad5", QUESTION, {**options, "n": 32})
            tasks.create_task(draw_all(vllm, many))
            base = tasks.create_task(draw_all(vllm, EngineRequest("base", QUESTION, options)))
        assert texts(base.result()) == before
