"""A trial draws ahead of what it looks at, and leaves nothing under way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from server.engine.base import EngineRefused, EngineUnavailable
from server.engine.scripted import ScriptedEngine
from server.parts import Parts
from server.recording.reservoir import Query
from server.settings import ServerSettings
from tests.serving import until


class Bench:
    """A server whose gate asks 40 queries, two rollouts of each; v1 answers like base."""

    def __init__(self, tmp_path: Path) -> None:
        self.engine = ScriptedEngine(lambda _model, messages, n: [messages[0]["content"]] * n)
        self.engine.adapters["v1"] = "folder"
        self.parts = Parts(
            ServerSettings(
                redis_url="memory://", adapters_dir=tmp_path, gate_prompts=40,
                gate_holdout=0, gate_rollouts=2,
                learning_rollouts=1000,
            ),
            engine=self.engine,
        )  # fmt: skip
        for number in range(40):
            query = Query([{"role": "user", "content": f"{number}"}], {})
            self.parts.reservoir.add(str(number), query)

    def asked(self) -> int:
        return len(self.engine.requests)


async def test_the_next_queries_are_under_way_before_the_first_are_answered(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.engine.held_back[1] = slow = asyncio.Event()
    trial = asyncio.create_task(bench.parts.promoter.trial.compare("v1", {"parent": "base"}, 0.01))
    await until(lambda: bench.asked() == 2 * 2 * 16)
    slow.set()
    verdict = await trial
    assert verdict.passed
    assert bench.engine.under_way == 0


async def test_what_was_begun_ahead_is_broken_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def script(model: str, messages: Sequence[Any], n: int) -> list[str]:
        if bench.asked() > 2 * 16:  # the second lot never ends
            bench.engine.held_back.setdefault(1, asyncio.Event())
        return ["?" if model == "v1" else messages[0]["content"]] * n

    bench.engine.script = script
    verdict = await bench.parts.promoter.trial.compare("v1", {"parent": "base"}, 0.01)
    assert not verdict.passed  # an alarm: it does not answer
    assert bench.engine.under_way == 0


async def test_a_query_that_the_engine_no_longer_takes_has_no_answer(tmp_path: Path) -> None:
    """Longer than the context since a restart, it would hold up every verdict for good."""
    bench = Bench(tmp_path)

    def script(_model: str, messages: Sequence[Any], n: int) -> list[str]:
        if messages[0]["content"] == "7":
            raise EngineRefused(400, "the prompt is too long")
        return [messages[0]["content"]] * n

    bench.engine.script = script
    verdict = await bench.parts.promoter.trial.compare("v1", {"parent": "base"}, 0.01)
    assert verdict.passed
    assert bench.engine.under_way == 0


async def test_an_adapter_that_is_not_there_decides_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.engine.adapters.clear()
    with pytest.raises(EngineUnavailable):
        await bench.parts.promoter.trial.compare("v1", {"parent": "base"}, 0.01)
