"""A server follows a pointer that others move, but serves nothing its own engine does not prove."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.memory_releases import MemoryReleases
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease, promote_by_hand
from server.engine.base import EngineRefused
from server.engine.scripted import ScriptedEngine
from server.parts import Parts
from server.settings import ServerSettings

BASE_SCORES, ADAPTER_SCORES = [-1.5, -2.5], [-1.0, -2.0]
SHEET = ProbeSheet([[1, 2, 3]], [ADAPTER_SCORES], [BASE_SCORES])


class Bench:
    """A server without HTTP whose gate is paused: all it does is follow."""

    def __init__(self, folder: Path) -> None:
        self.applies = True
        self.engine = ScriptedEngine(lambda *_: [])
        self.engine.scores = self.scores
        self.releases, self.folders = MemoryReleases(), AdapterFolders(folder)
        settings = ServerSettings(redis_url="memory://", adapters_dir=folder)
        self.parts = Parts(settings, engine=self.engine, releases=self.releases)

    def scores(self, model: str, tokens: Sequence[int]) -> list[float]:
        return ADAPTER_SCORES if self.applies and model != "base" else BASE_SCORES

    async def promote(self, sheet: ProbeSheet = SHEET) -> AdapterRelease:
        """Publish a version and move the pointer to it, as another server would; follow."""
        await self.releases.pause("judged elsewhere")
        version, live = await self.releases.reserve(), await self.releases.live()

        def write(folder: Path) -> None:
            (folder / WEIGHTS).write_text(f"{version}")
            sheet.write(folder)

        name, digest = self.folders.commit(version, write)
        token = await self.releases.acquire(5.0)
        assert token is not None
        release = AdapterRelease(version, live, name, digest, [], {}, 0.0)
        await self.releases.publish(release, token)
        await self.releases.resign(token)
        await promote_by_hand(self.releases, version)
        await self.parts.promoter.sync()
        return release


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_pointer_is_followed(bench: Bench) -> None:
    release = await bench.promote()
    assert bench.parts.policy.live == release.version
    assert list(bench.engine.adapters) == [release.folder]


async def test_an_engine_that_ignores_the_adapter_does_not_serve_it(bench: Bench) -> None:
    bench.applies = False
    release = await bench.promote()
    assert (bench.parts.policy.live, bench.engine.adapters) == (0, {})
    bench.applies = True
    await bench.parts.promoter.sync()
    assert bench.parts.policy.live == release.version


async def test_an_adapter_that_the_engine_refuses_is_not_served(bench: Bench) -> None:
    """vLLM answers 400 where a score is not finite."""

    def refused(model: str, tokens: Sequence[int]) -> list[float]:
        raise EngineRefused(400, "Out of range float values are not JSON compliant")

    bench.engine.scores = refused
    await bench.promote()
    assert (bench.parts.policy.live, bench.engine.adapters) == (0, {})


@pytest.mark.parametrize(
    "sheet",
    [
        ProbeSheet([], [], []),
        ProbeSheet([[1, 2, 3]], [[float("nan")] * 2], [BASE_SCORES]),  # JSON has no NaN, but null
        ProbeSheet([[1, 2, 3]], [ADAPTER_SCORES[:1]], [BASE_SCORES]),
    ],
    ids=["empty", "nan", "short"],
)
async def test_without_a_whole_probe_sheet_nothing_is_served(
    bench: Bench, sheet: ProbeSheet
) -> None:
    await bench.promote(sheet)
    assert (bench.parts.policy.live, bench.engine.adapters) == (0, {})


async def test_a_folder_lost_with_the_engine_s_memory_costs_that_version_only(
    bench: Bench, tmp_path: Path
) -> None:
    first, second = await bench.promote(), await bench.promote()
    assert bench.parts.policy.loaded == [0, first.version, second.version]
    (tmp_path / first.folder / WEIGHTS).unlink()
    bench.engine.adapters.clear()
    bench.parts.promoter.versions.engine_restarted()
    await bench.parts.promoter.sync()
    assert list(bench.engine.adapters) == [second.folder]
