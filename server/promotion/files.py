"""The first steps: a candidate's place in the lineage, and its files."""

import asyncio

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease
from server.engine.base import Engine
from server.policy.leases import Policy
from server.promotion.steps import usable


class Lineage:
    """Turns away what descends from a version no longer live: a rollback takes it along."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        if release.parent == self._policy.live:
            return StepVerdict(Step.LINEAGE, passed=True)
        return orphaned(Step.LINEAGE, release)


class Files:
    """Checks that the folder holds what was published, and has the engine load it."""

    def __init__(self, engine: Engine, folders: AdapterFolders) -> None:
        self._engine, self._folders = engine, folders

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        return await usable(self._engine, Step.FILES, self._load(release))

    async def _load(self, release: AdapterRelease) -> StepVerdict:
        folder = await asyncio.to_thread(self._folders.verified, release)
        await self._engine.load(release.folder, str(folder))
        return StepVerdict(Step.FILES, passed=True)


def orphaned(step: Step, release: AdapterRelease) -> StepVerdict:
    """The verdict on a candidate whose parent is no longer live."""
    gone = f"its parent v{release.parent} is no longer live"
    return turned_away(step, Cause.PARENT_NOT_LIVE, gone)
