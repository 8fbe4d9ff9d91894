"""The versions on disk: which one the trainer goes on from, new candidates, folders to keep."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.learner.lineage import AGE, Lineage, last_good
from adapter.learner.model_card import config_hash, write_card
from adapter.learner.recipe import LAST_GOOD, Recipe
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.clients import pseudonyms
from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore
from adapter.trainer import Trainer, TrainerThread
from rewards.estimators.estimate import ScoredGroup

log = logging.getLogger("ratchet.learner")

_DISK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Keeps trainer and lineage at the live version, and publishes what was learnt since."""

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

    async def publish(
        self, token: int, batch: Sequence[ScoredGroup], metrics: Mapping[str, float]
    ) -> AdapterRelease:
        """Save and record the candidate that was trained on `batch`. Raises Fenced."""
        age = self.lineage.consider(scored.group.prompt for scored in batch)
        draft = AdapterRelease(
            version=await self.releases.reserve(),
            parent=self.lineage.tip or BASE,
            folder="",  # not known yet
            sha256="",
            sample_ids=[scored.group.id for scored in batch],
            metrics={**metrics, AGE: age},
            created_at=time.time(),
            config=config_hash(self.recipe.config),
            clients=sorted({one for scored in batch for one in pseudonyms(scored.group.client)}),
        )
        name, digest = await self._commit(draft)
        release = replace(draft, folder=name, sha256=digest)
        await self.releases.publish(release, token)
        return release

    async def _commit(self, draft: AdapterRelease) -> tuple[str, str]:
        """Save the folder, trying until the disk allows it: batch and weights are still here, so
        waiting loses nothing. Returns name and sha256."""

        def commit(trainer: Trainer) -> tuple[str, str]:
            def write(folder: Path) -> None:
                trainer.save(folder)
                self.lineage.save(folder)
                write_card(folder, draft, self.recipe.config)

            return self.folders.commit(draft.version, write)

        while True:
            try:
                return await self.trainer.do(commit)
            except OSError as error:
                log.error("cannot write to adapters_dir %s: %s", self.folders.root, error)
                await asyncio.sleep(_DISK_SECONDS)

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
