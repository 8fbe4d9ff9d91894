"""Everything one server process consists of, built from its settings and wired."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.buffer import RolloutBuffer
from adapter.store.channels import open_buffer, open_releases
from adapter.store.releases import ReleaseStore
from rewards.answers.kinds import AnswerKinds, answer_kinds
from rewards.answers.math_judge import MathJudge
from server.api.tenants import Tenants
from server.engine.base import Engine
from server.engine.replica_set import ReplicaSet, engines_at
from server.history import History
from server.metrics import ServerMetrics
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.policy.live_signals import LiveSignals
from server.promotion.canary import Canary, CanaryRules
from server.promotion.files import Files, Lineage
from server.promotion.labelled_queries import read_labelled_queries
from server.promotion.monitor import Monitor
from server.promotion.parity import ParityProbe
from server.promotion.probe_set import ProbeSet
from server.promotion.promoter import Promoter
from server.promotion.trial import Trial, TrialRules
from server.promotion.versions import Versions
from server.recording.feedback import Feedback, FeedbackStore
from server.recording.feedback_stores import open_feedback
from server.recording.recorder import Recorder
from server.recording.reservoir import Reservoir
from server.recording.transcript import Transcript, vocabulary_of
from server.settings import ServerSettings
from server.vote.admission import Admission
from server.vote.bookkeeping import Bookkeeping
from server.vote.completions import Completions
from server.vote.recent_votes import RecentVotes
from server.vote.rules import VoteRules
from server.vote.top_up import TopUp
from server.vote.voted import VotedAnswers

log = logging.getLogger("ratchet.server")

_FLUSH_SECONDS = 5.0


class Parts:
    """One server process. Give a part to have it used instead of what the settings name."""

    def __init__(
        self,
        settings: ServerSettings,
        engine: Engine | None = None,
        buffer: RolloutBuffer | None = None,
        releases: ReleaseStore | None = None,
    ) -> None:
        self.settings = settings
        self.draining = False
        self.failed = asyncio.Event()
        """Set when a background task has ended, which none should."""
        self.metrics = ServerMetrics()
        self.engine = ReplicaSet(
            {"engine": engine}
            if engine
            else engines_at(settings.engine_url, settings.engine_model, settings.engine_timeout),
            settings.probe_seconds,
            self.metrics,
        )
        self.buffer = buffer or open_buffer(settings)
        self.releases = releases or open_releases(settings)
        self.feedback_store: FeedbackStore = open_feedback(
            settings.redis_url, settings.feedback_seconds
        )
        self.tenants = Tenants(settings.keys_file)
        self.judge = MathJudge(settings.equality_deadline)
        kinds = answer_kinds(self.judge)
        self.policy = Policy(settings.model_name, settings.engine_model)
        self.reservoir = Reservoir()
        self.signals = LiveSignals(settings.watch_queries)
        self.admission = Admission(settings.capacity_tokens, self.metrics)
        self.recorder = Recorder(
            self.buffer, settings.recorder_queue, self.metrics, self._forget_clients
        )
        self.history = History(
            self.metrics,
            self.policy,
            self.signals,
            lambda: self.recorder.waiting,
            lambda: self.admission.load,
        )
        self.recent = RecentVotes(settings.page_texts)
        transcript = Transcript(
            settings.record_top_logprobs, settings.vocab_size or vocabulary_of(settings.model)
        )
        self.top_up = TopUp(
            self.engine,
            self.policy,
            self.admission,
            self.recorder.offer,
            transcript.rollouts,
            settings.train_rollouts,
            self.metrics,
        )
        self.feedback = Feedback(self.feedback_store, kinds, self.metrics)
        self.promoter = self._promoter(kinds)
        self.engine.on_return = self.promoter.versions.engine_restarted
        rules = VoteRules(
            settings.rollouts,
            settings.rollouts_min,
            settings.max_rollouts,
            settings.rollout_temperature,
            settings.vote_confidence,
            settings.engine_timeout,
            settings.record_top_logprobs,
        )
        bookkeeping = Bookkeeping(
            policy=self.policy,
            admission=self.admission,
            recorder=self.recorder,
            transcript=transcript,
            top_up=self.top_up,
            feedback=self.feedback,
            reservoir=self.reservoir,
            signals=self.signals,
            recent=self.recent,
            metrics=self.metrics,
        )
        self.voted = VotedAnswers(
            engine=self.engine,
            bookkeeping=bookkeeping,
            kinds=kinds,
            rules=rules,
            metrics=self.metrics,
        )
        self.completions = Completions(
            engine=self.engine,
            policy=self.policy,
            admission=self.admission,
            voted=self.voted,
            rules=rules,
        )

    def _promoter(self, kinds: AnswerKinds) -> Promoter:
        settings = self.settings
        limits = GateLimits(
            settings.gate_max_kl,
            settings.gate_min_margin,
            settings.gate_min_diversity,
            settings.gate_max_drop,
            settings.gate_max_stretch,
        )
        probes = ProbeSet(
            self.engine,
            self.reservoir,
            read_labelled_queries(settings.gate_file) if settings.gate_file else [],
            kinds,
            settings.gate_prompts,
            settings.gate_rollouts,
            settings.gate_refresh,
            settings.rollout_temperature,
        )
        rules = TrialRules(settings.gate_margin, settings.gate_queries, limits)
        trial = Trial(probes, kinds, self.policy, rules)
        folders = AdapterFolders(settings.adapters_dir)
        proof = (
            Files(self.engine, folders),
            ParityProbe(self.engine, folders, settings.parity_tolerance),
        )
        canary = Canary(
            policy=self.policy,
            releases=self.releases,
            signals=self.signals,
            limits=limits,
            rules=CanaryRules(settings.canary_share, settings.canary_seconds),
        )
        steps = (Lineage(self.policy), *proof, trial, *([canary] if settings.canary_share else []))
        return Promoter(
            engine=self.engine,
            releases=self.releases,
            versions=Versions(
                engine=self.engine,
                releases=self.releases,
                policy=self.policy,
                proof=proof,
                metrics=self.metrics,
                keep_loaded=settings.keep_loaded,
            ),
            trial=trial,
            steps=steps,
            monitor=Monitor(
                signals=self.signals,
                trial=trial,
                releases=self.releases,
                policy=self.policy,
                limits=limits,
            ),
            metrics=self.metrics,
        )

    def _forget_clients(self, clients: Collection[str]) -> None:
        """They have opted out, as their pseudonyms say."""
        self.reservoir.forget(clients)
        self.recent.forget(clients)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Background tasks for the life of the server; on the way out, flush and disconnect."""
        jobs = (
            self.recorder.run(), self.recorder.watch(), self.promoter.run(), self.engine.run(),
            self.top_up.run(), self.feedback.run(), self.history.run(),
        )  # fmt: skip
        await self.recorder.look()
        tasks = [asyncio.create_task(job) for job in jobs]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            if not self.failed.is_set():
                await self.flush(_FLUSH_SECONDS)
            await _cancel(tasks)
            self.judge.close()
            await self.engine.close()
            await self.feedback_store.close()
            await self.buffer.close()
            await self.releases.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nothing would be learnt any more, or nothing promoted: better to be started anew."""
        if not task.cancelled():
            log.critical("a background task has failed", exc_info=task.exception())
            self.failed.set()

    async def flush(self, seconds: float) -> None:
        """See what is under way through, and wait until all of it is stored: `seconds` at most."""
        try:
            async with asyncio.timeout(seconds):
                await self.voted.drain()
                self.top_up.flush()
                await self.recorder.flush()
        except TimeoutError:
            log.warning("groups were still under way after %g s and are lost", seconds)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks for certain: a cancellation that meets a reply in flight can get lost in 3.11."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
