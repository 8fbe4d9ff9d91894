"""Known-bad adapters before the gate, on a real engine: none passes, and an honest one does."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.store.releases import ReleaseState
from evals.arithmetic.bad_adapters import BAD_ADAPTERS
from loadtests.gate_bench import Judge, copied
from tests.engines import EngineProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.lane("engine", 2)]

AGAIN = ("sign_flipped", "never_carries", "constant_answer", "zero")


async def test_all_bad_adapters_are_turned_away_and_an_honest_one_is_not(
    adapters: Callable[[str], Path], shared_engine: EngineProcess, tmp_path: Path
) -> None:
    random.seed(0)  # one verdict in twenty may be wrong (gate_margin): these are always the same
    async with Judge.at(shared_engine.url, tmp_path / "adapters") as judge:
        for name in BAD_ADAPTERS:
            release = await judge.decide(copied(adapters(name)))
            assert release.state is ReleaseState.REJECTED, (name, release.reason)
        honest = await judge.decide(copied(adapters("honest")))
        assert honest.state is ReleaseState.LIVE, honest.reason
        for name in AGAIN:
            release = await judge.decide(copied(adapters(name)))
            assert release.state is ReleaseState.REJECTED, (name, release.reason)
        assert judge.parts.policy.live == honest.version
        await judge.parts.engine.probe()  # nothing of all that has hurt the engine
