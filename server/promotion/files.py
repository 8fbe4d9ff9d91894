"""The first steps: a candidate's place in the lineage, and its files."""

import asyncio
from dataclasses import dataclass

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease
from server.engine.base import Engine
from server.policy.leases import Policy
from server.promotion.steps import verdict_or_unusable


@dataclass(frozen=True, slots=True)
class Lineage:
    """Rejects descendants of a version that is no longer live, as after a rollback."""

    policy: Policy

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        if release.parent == self.policy.live:
            return StepVerdict(Step.LINEAGE, passed=True)
        return parent_not_live(Step.LINEAGE, release)


@dataclass(frozen=True, slots=True)
class Files:
    """Checks that the folder holds what was published, and has the engine load it."""

    engine: Engine
    folders: AdapterFolders

    async def judge(self, release: AdapterRelease) -> StepVerdict:
        return await verdict_or_unusable(self.engine, Step.FILES, self._load(release))

    async def _load(self, release: AdapterRelease) -> StepVerdict:
        folder = await asyncio.to_thread(self.folders.verified, release)
        await self.engine.load(release.folder, str(folder))
        return StepVerdict(Step.FILES, passed=True)


def parent_not_live(step: Step, release: AdapterRelease) -> StepVerdict:
    """The verdict on a candidate whose parent is no longer live."""
    reason = f"its parent v{release.parent} is no longer live"
    return turned_away(step, Cause.PARENT_NOT_LIVE, reason)
