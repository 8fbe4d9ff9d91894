"""`ratchet adapt`: the learner process, wired from its settings."""

import asyncio
import logging
from contextlib import suppress
from typing import NoReturn

from adapter.learner.metrics import LearnerMetrics
from adapter.learner.model_card import public
from adapter.learner.quota import InfluenceLimits
from adapter.learner.recipe import Recipe
from adapter.learner.scoring import Scoring
from adapter.learner.training_log import TrainingLog, TrainingLogUnavailable
from adapter.learner.worker import LearnerDiverged, Worker
from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.channels import open_buffer, open_releases
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.memory.plan import DoesNotFit
from adapter.training.ranks import join
from adapter.training.shared_trainer import SharedTrainer, execute_commands
from ratchet.errors import ConfigurationError, as_configuration_error
from ratchet.local.child import GAVE_UP
from ratchet.settings import require_writable
from ratchet.signals import until_signalled
from rewards.advantages import ADVANTAGES
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_judge import MathJudge

log = logging.getLogger("ratchet")


def learn(settings: AdapterSettings) -> int:
    """Learn until stopped; GAVE_UP if updates keep failing. On several devices all but the
    first process only execute its commands. Raises ConfigurationError."""
    with as_configuration_error(ValueError):
        ranks = join(settings.device, settings.peer_seconds)
    if ranks.rank > 0:
        return execute_commands(ranks, settings.peer_seconds)
    with as_configuration_error(TrainingLogUnavailable):
        training_log = TrainingLog(
            settings.log_dir,
            project=settings.wandb_project,
            mode=settings.wandb_mode,
            config=public(settings.model_dump(mode="json")),
        )
    require_writable(settings.adapters_dir, "adapters_dir")
    metrics = LearnerMetrics(settings.adapters_dir)
    try:
        metrics.serve(settings.adapter_metrics_host, settings.adapter_metrics_port)
    except OSError as error:
        port = settings.adapter_metrics_port
        raise ConfigurationError(f"adapter_metrics_port: {port}: {error.strerror}") from None
    try:
        shared = SharedTrainer(settings, ranks) if ranks.count > 1 else None
        trainer = shared or LoraTrainer(settings)
    except DoesNotFit as error:
        raise ConfigurationError(str(error)) from None
    except (OSError, ValueError) as error:  # transformers raises either for what it cannot find
        why = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"model: {settings.model!r} cannot be loaded: {why}") from None
    judge = MathJudge(settings.equality_deadline)
    worker = Worker(
        buffer=open_buffer(settings),
        releases=open_releases(settings),
        trainer=trainer,
        folders=AdapterFolders(settings.adapters_dir),
        recipe=_recipe(settings, judge),
        metrics=metrics,
        lease_seconds=settings.lease_seconds,
        training_log=training_log,
    )
    learning = _until_diverged(worker, hold=settings.hold_after_giving_up)
    try:
        work = learning if shared is None else shared.with_heartbeats(learning)
        asyncio.run(until_signalled(work))
    except LearnerDiverged:
        return GAVE_UP
    finally:
        training_log.close()
        judge.close()
    return 0


async def _until_diverged(worker: Worker, *, hold: bool) -> NoReturn:
    """Learn. Once it has diverged, `hold` stays within the heartbeats: other ranks, their launchers
    and whoever probes see a live process. Raises LearnerDiverged, TrainerLost."""
    try:
        await worker.run()
    except LearnerDiverged as error:
        log.error("stopped: %s", error)
        if hold:
            log.error("gave up: waits for SIGTERM, as hold_after_giving_up says")
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        raise


def _recipe(settings: AdapterSettings, judge: MathJudge) -> Recipe:
    return Recipe(
        scoring=Scoring(
            estimator=settings.estimator(),
            advantage=ADVANTAGES[settings.advantage],
            kinds=AnswerKinds(judge),
            std_floor=settings.advantage_std_floor,
            clip=settings.advantage_clip,
            rollouts=settings.learn_rollouts,
            name=settings.reward,
        ),
        groups_per_update=settings.groups_per_update,
        updates_per_candidate=settings.updates_per_candidate,
        max_lag=settings.max_lag,
        keep_versions=settings.keep_versions,
        max_age=settings.max_age,
        reanchor=settings.reanchor,
        config=settings.model_dump(mode="json"),
        influence=InfluenceLimits(
            client_groups=settings.client_groups,
            client_token_share=settings.client_token_share,
            duplicates=settings.duplicate_limit,
            variants=settings.variant_limit,
        ),
    )
