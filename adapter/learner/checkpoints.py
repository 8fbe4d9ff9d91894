"""Which version the trainer goes on from, and which adapter folders are kept."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.learner.lineage import Lineage, last_good
from adapter.learner.recipe import LAST_GOOD, Recipe
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore
from adapter.trainer import TrainerThread

log = logging.getLogger("ratchet.learner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Keeps trainer and lineage at the live version."""

    releases: ReleaseStore
    folders: AdapterFolders
    trainer: TrainerThread
    lineage: Lineage
    recipe: Recipe

    async def follow_live(self) -> bool:
        """Load the live version unless it is loaded: after a rollback, an older one. Returns
        whether that was another. Raises ReleaseCorrupt."""
        live = await self.releases.live()
        if live == self.lineage.tip:
            return False
        folder = None
        if live != BASE:
            folder = self.folders.verified(await self.releases.get(live))
        await self.trainer.do(lambda trainer: trainer.load(folder))
        self.lineage.follow(live, await self.releases.all(), folder)
        return True

    async def reanchor(self) -> bool:
        """Make an earlier version live once the lineage has spent its age budget. Returns whether
        it has."""
        budget, age = self.recipe.max_age, self.lineage.age
        if not budget or age < budget:
            return False
        live = self.lineage.tip or BASE
        target = self._anchor(await self.releases.all(), live)
        why = f"v{live} has learnt from {age} distinct queries, budget {budget}"
        await self.releases.promote(target, live, why)
        log.warning("back to %s: %s", f"v{target}" if target else "base", why)
        return True

    async def prune(self) -> None:
        """Keep the folders of live, candidates, the last few retired versions and the anchor;
        delete all others."""
        releases = await self.releases.all()
        needed = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)]
        retired = [r for r in releases if r.state is ReleaseState.RETIRED]
        kept = [*needed, *retired[-self.recipe.keep_versions :]]
        if self.recipe.max_age:
            anchor = self._anchor(releases, await self.releases.live())
            kept += [release for release in releases if release.version == anchor]
        keep = {release.folder for release in kept}
        await asyncio.to_thread(self.folders.prune, keep)

    def _anchor(self, releases: Sequence[AdapterRelease], live: int) -> int:
        """The version that `reanchor` goes back to."""
        if self.recipe.reanchor != LAST_GOOD:
            return BASE
        return last_good(releases, live, self.recipe.max_age)
