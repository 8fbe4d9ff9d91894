"""All parts of one server process, built from its settings and wired."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from adapter.store.buffer import RolloutBuffer
from adapter.store.channels import open_buffer, open_releases
from adapter.store.releases import ReleaseStore
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_judge import MathJudge
from server.api.tenants import Tenants
from server.background import in_background
from server.engine.base import BASE_MODEL, Engine
from server.engine.discovery import Discovery
from server.engine.replica_set import ReplicaSet, engine_maker, engines_at
from server.history import History
from server.mathematics import Mathematics
from server.metrics import ServerMetrics
from server.policy.governor import Governor
from server.policy.learning_share import LearningShare
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals
from server.policy.spending import Spending
from server.recording.feedback import Feedback
from server.recording.feedback_stores import MemoryFeedback, open_feedback
from server.recording.recorder import Recorder
from server.recording.reservoir import Reservoir
from server.recording.trainable import Trainable
from server.recording.transcript import Transcript, vocabulary_of
from server.settings import ServerSettings, kinds_in
from server.vote.admission import Admission
from server.vote.bookkeeping import Bookkeeping
from server.vote.completions import Completions
from server.vote.passthrough import HandingOn
from server.vote.recent_votes import RecentVotes
from server.vote.top_up import TopUp
from server.vote.voted import VotedAnswers
from server.wiring import promoter, vote_rules

log = logging.getLogger("ratchet.server")

_FLUSH_SECONDS = 5.0
_VOTES_AT_ONCE, _VOTE_PATIENCE = 2, 5.0
"""Votes whose mathematics is done at a time, and seconds for which others wait for that."""


class Parts:
    """One server process. A part that is given replaces the one that the settings name."""

    def __init__(
        self,
        settings: ServerSettings,
        engine: Engine | None = None,
        buffer: RolloutBuffer | None = None,
        releases: ReleaseStore | None = None,
        discovery: Discovery | None = None,
    ) -> None:
        self.settings = settings
        self.draining = False
        self.leaving = False
        """Whether each reply is the last on its connection."""
        self.failed = asyncio.Event()
        """Set when a background task has failed."""
        self.metrics = metrics = ServerMetrics()
        key = "" if settings.engine_key is None else settings.engine_key.get_secret_value()
        make = engine_maker(settings.engine_model, settings.engine_timeout, key)
        urls, pause = settings.engine_url, settings.probe_seconds
        engines = engines_at(urls, make) if engine is None else {"engine": engine}
        if engine is None and discovery is None:
            discovery = Discovery(urls, make, pause=pause)
        self.engine = ReplicaSet(engines, settings.probe_seconds, metrics, discovery)
        self.buffer = buffer or open_buffer(settings)
        self.releases = releases or open_releases(settings)
        self.tenants = Tenants(settings.keys_file)
        deadline = settings.equality_deadline
        # None of them keeps the others waiting.
        self.judge = MathJudge(deadline, _VOTES_AT_ONCE)
        self._judges = (self.judge, MathJudge(deadline), MathJudge(deadline))
        votes, gate, labels = map(AnswerKinds, self._judges)
        self._mathematics = Mathematics(_VOTES_AT_ONCE, _VOTE_PATIENCE)
        self.policy = Policy(settings.model_name, BASE_MODEL)
        self.signals = LiveSignals(settings.watch_queries)
        self.admission = Admission(settings.capacity_tokens, metrics)
        self.spending = Spending(settings.budget)
        self.governor = Governor(lambda: self.spending.affords)
        self.share = LearningShare(
            alone=settings.learning_rollouts,
            beside=settings.learning_rollouts_beside,
            clients=lambda: self.admission.requests,
        )
        self.admission.on_change = self.share.changed
        self._keep(settings)
        self.feedback = Feedback(self.feedback_store, labels, metrics)
        self.promoter = promoter(
            settings,
            engine=self.engine,
            releases=self.releases,
            policy=self.policy,
            signals=self.signals,
            reservoir=self.reservoir,
            feedback=self.feedback_store,
            share=self.share,
            spending=self.spending,
            kinds=gate,
            metrics=metrics,
        )
        self.engine.on_return = self.promoter.versions.engine_restarted
        rules = vote_rules(settings)
        self.voted = VotedAnswers(
            engine=self.engine,
            bookkeeping=Bookkeeping(
                policy=self.policy,
                admission=self.admission,
                recorder=self.recorder,
                transcript=self._transcript,
                top_up=self.top_up,
                feedback=self.feedback,
                reservoir=self.reservoir,
                trainable=Trainable(kinds_in(settings.trainable_kinds), settings.train_support),
                signals=self.signals,
                recent=self.recent,
                governor=self.governor,
                spending=self.spending,
                metrics=metrics,
            ),
            kinds=votes,
            mathematics=self._mathematics,
            rules=rules,
        )
        self.completions = Completions(
            engine=self.engine,
            policy=self.policy,
            admission=self.admission,
            voted=self.voted,
            rules=rules,
        )
        self.handing_on = HandingOn(
            engine=self.engine,
            policy=self.policy,
            admission=self.admission,
            seconds=settings.engine_timeout,
        )
        self.history = History(
            metrics=metrics,
            policy=self.policy,
            signals=self.signals,
            waiting=lambda: self.recorder.waiting,
            load=lambda: self.admission.load,
            price=lambda: self.spending.price,
        )

    def _keep(self, settings: ServerSettings) -> None:
        """Build the parts that keep something of an answer."""
        self.reservoir = Reservoir(one_in=settings.gate_holdout)
        self.recent = RecentVotes(settings.page_texts)
        self.feedback_store = open_feedback(
            settings.redis_url, settings.feedback_seconds, settings.retention_seconds
        )
        self.recorder = Recorder(self.buffer, settings.recorder_queue, self.metrics)
        self.recorder.on_opt_out = self._forget
        vocabulary = settings.vocab_size or vocabulary_of(settings.model)
        self._transcript = Transcript(settings.record_top_logprobs, vocabulary)
        self.top_up = TopUp(
            engine=self.engine,
            policy=self.policy,
            admission=self.admission,
            share=self.share,
            recorder=self.recorder,
            transcript=self._transcript,
            target=settings.train_rollouts,
            spending=self.spending,
            metrics=self.metrics,
        )

    async def _forget(self, client: str) -> Mapping[str, int]:
        """Remove what this process keeps of a client that has opted out, by its pseudonym; returns
        how much of what."""
        self.promoter.trial.probes.forget({client})
        removed = {
            "queries": self.reservoir.forget({client}),
            "texts": self.recent.forget({client}),
            "groups": self.top_up.forget(),
            "answers": self.feedback.forget(client),
        }
        self.governor.forget(client)
        if isinstance(self.feedback_store, MemoryFeedback):  # `ratchet forget` clears Redis itself
            removed["answers"] += await self.feedback_store.forget(client)
        return removed

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the background tasks during the block; then flush and disconnect."""
        await self.recorder.check()
        jobs = (
            self.recorder.run(), self.recorder.watch(), self.promoter.run(), self.engine.run(),
            self.top_up.run(), self.feedback.run(), self.history.run(),
        )  # fmt: skip
        try:
            async with in_background(jobs, self.failed):
                yield
                if not self.failed.is_set():
                    await self.flush(_FLUSH_SECONDS)
        finally:
            self.feedback.close()
            await asyncio.to_thread(self.close_judges)
            for part in (self.engine, self.feedback_store, self.buffer, self.releases):
                await part.close()

    def close_judges(self) -> None:
        """End their processes, each when it has judged what it is at."""
        self._mathematics.close()
        for judge in self._judges:
            judge.close()

    async def flush(self, seconds: float) -> None:
        """Finish what is under way and wait until it is stored, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.voted.drain()
                self.top_up.flush()
                await self.recorder.flush()
        except TimeoutError:
            log.warning("groups were still under way after %g s and are lost", seconds)
