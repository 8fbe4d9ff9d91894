"""Builds the two flows of a server process, vote and promotion, from its settings."""

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.releases import ReleaseStore
from rewards.answers.kinds import AnswerKinds
from server.engine.base import BASE_MODEL, Engine
from server.metrics import ServerMetrics
from server.policy.learning_share import LearningShare
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.policy.live_signals import LiveSignals
from server.policy.spending import Spending
from server.policy.support import Support
from server.promotion.canary import Canary, CanaryRules
from server.promotion.decision.decision import DecisionRules
from server.promotion.decision.power import check_decides
from server.promotion.files import Files, Lineage
from server.promotion.gate_draws import GateDraws
from server.promotion.guards.base_replies import BaseReplies
from server.promotion.guards.guards import GuardRules, Guards
from server.promotion.guards.harm import HarmRules
from server.promotion.guards.suite import guard_suite
from server.promotion.labels.labelled_queries import read_labelled_queries
from server.promotion.monitor import Monitor
from server.promotion.parity import ParityProbe
from server.promotion.probe_set import ProbeRules, ProbeSet
from server.promotion.promoter import Promoter
from server.promotion.steps import PromotionStep
from server.promotion.trial import Trial, TrialRules
from server.promotion.versions import Versions
from server.recording.feedback import FeedbackStore
from server.recording.reservoir import Query, Reservoir
from server.settings import ServerSettings, kinds_in
from server.vote.rules import VoteRules


def vote_rules(settings: ServerSettings) -> VoteRules:
    """The rules of votes."""
    return VoteRules(
        rollouts=settings.rollouts,
        rollouts_min=settings.rollouts_min,
        max_rollouts=settings.max_rollouts,
        temperature=settings.rollout_temperature,
        answer=settings.answer_choice,
        confidence=settings.vote_confidence,
        support=Support(settings.vote_support),
        deadline=settings.engine_timeout,
        max_deadline=settings.max_deadline,
        top_logprobs=settings.record_top_logprobs,
        unjudged={"text"} - kinds_in(settings.trainable_kinds),
    )


def promoter(
    settings: ServerSettings,
    *,
    engine: Engine,
    releases: ReleaseStore,
    policy: Policy,
    signals: LiveSignals,
    reservoir: Reservoir,
    feedback: FeedbackStore,
    share: LearningShare,
    spending: Spending,
    kinds: AnswerKinds,
    metrics: ServerMetrics,
) -> Promoter:
    """The steps of a promotion in their order, and the monitor of the live version. Raises
    LabelledQueriesInvalid, GateCannotDecide."""
    check_decides(settings.gate_margin, settings.gate_queries, settings.gate_rollouts)
    limits = GateLimits(
        max_kl=settings.gate_max_kl,
        min_margin=settings.gate_min_margin,
        min_diversity=settings.gate_min_diversity,
        max_drop=settings.gate_max_drop,
        max_stretch=settings.gate_max_stretch,
    )
    folders = AdapterFolders(settings.adapters_dir)
    probing = metrics.tokens["probing"].inc
    parity = ParityProbe(engine, BASE_MODEL, folders, settings.parity_tolerance, probing)
    proof = (Files(engine, folders), parity)
    probe_rules = ProbeRules(
        minimum=settings.gate_prompts,
        rollouts=settings.gate_rollouts,
        refresh=settings.gate_refresh,
        temperature=settings.rollout_temperature,
        seconds=settings.gate_seconds,
        queries=settings.gate_queries,
        labels=settings.gate_labels,
        told=settings.gate_feedback,
    )
    labelled: list[Query] = []
    if settings.gate_file is not None:
        labelled = read_labelled_queries(settings.gate_file, settings.answer_choice, kinds)

    def judged(tokens: int) -> None:
        metrics.tokens["judging"].inc(tokens)
        spending.generated(tokens)

    draws = GateDraws(
        engine=engine,
        share=share,
        on_tokens=judged,
        on_scored=probing,
    )
    probes = ProbeSet(
        draws=draws,
        reservoir=reservoir,
        kinds=kinds,
        rules=probe_rules,
        labelled=labelled,
        feedback=feedback,
    )
    decision_rules = DecisionRules(
        margin=settings.gate_margin,
        queries=settings.gate_queries,
        max_overturned=settings.gate_max_overturned,
        max_novel=settings.gate_max_novel,
    )
    trial = Trial(probes, kinds, policy, TrialRules(decision_rules, limits))
    steps: list[PromotionStep] = [Lineage(policy), *proof, trial]
    if settings.gate_guard != "off":
        steps.append(_guards(settings, draws, kinds))
    if settings.canary_share:
        rules = CanaryRules(settings.canary_share, settings.canary_seconds, limits)
        steps.append(Canary(policy, releases, signals, rules))
    return Promoter(
        engine=engine,
        releases=releases,
        versions=Versions(
            engine=engine,
            releases=releases,
            policy=policy,
            proof=proof,
            metrics=metrics,
            keep_loaded=settings.keep_loaded,
        ),
        trial=trial,
        steps=tuple(steps),
        monitor=Monitor(policy, releases, signals, trial),
        spending=spending,
        metrics=metrics,
        lock_in=settings.gate_lock_in,
    )


def _guards(settings: ServerSettings, draws: GateDraws, kinds: AnswerKinds) -> Guards:
    """The step of the guards."""
    replies = BaseReplies(
        draws=draws,
        kinds=kinds,
        suite=guard_suite(),
        tokens=settings.gate_guard_tokens,
        seconds=settings.gate_seconds,
    )
    harm = HarmRules(max_lost=settings.gate_guard_loss, max_unlikely=settings.gate_guard_likelihood)
    rejects = settings.gate_guard == "reject"
    return Guards(
        draws, replies, GuardRules(items=settings.gate_guard_items, rejects=rejects, harm=harm)
    )
