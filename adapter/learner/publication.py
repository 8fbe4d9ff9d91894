"""Makes a candidate of the trainer's weights: its folder durably first, then its record."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.learner.lineage import AGE, Lineage
from adapter.learner.model_card import config_hash, write_card
from adapter.learner.recipe import Recipe
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.clients import pseudonym
from adapter.store.releases import BASE, AdapterRelease, ReleaseStore
from adapter.trainer import Trainer, TrainerThread
from rewards.estimators.estimate import ScoredGroup

log = logging.getLogger("ratchet.learner")

_DISK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Publishes what the trainer has learnt since the lineage's tip."""

    releases: ReleaseStore
    folders: AdapterFolders
    trainer: TrainerThread
    lineage: Lineage
    recipe: Recipe

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
            clients=sorted({pseudonym(scored.group.client) for scored in batch}),
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
