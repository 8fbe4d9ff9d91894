"""Settings of the server process, by what they are about."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from adapter.settings import ChannelSettings


class _Group(BaseSettings):
    model_config = ChannelSettings.model_config


class ListenSettings(_Group):
    """Listening: addresses, keys, limits of a request."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on."""
    keys_file: Path | None = None
    """API keys, a JSON object a line; `ratchet keys add NAME` writes them. Without one, whoever
    reaches the port may ask."""
    admin_port: int = Field(0, ge=0, le=65535)
    """Port for looking at releases and moving the live pointer over HTTP; 0 for none."""
    admin_key: SecretStr | None = None
    """Key that the admin port wants, as `Authorization: Bearer …`. It does not open without one."""
    max_body_bytes: int = Field(4 << 20, gt=0)
    """Largest request body accepted (413 above)."""
    drain_seconds: float = Field(0.0, ge=0)
    """After SIGTERM, answer this long while `/readyz` says 503, so that load balancers notice."""


class PageSettings(_Group):
    """The live page."""

    page: bool = True
    """Show the live page at `/`: figures, verdicts, how votes split. Like `/metrics` it needs no
    key and has no texts."""
    page_texts: bool = False
    """Show questions and answers on it too, to whoever may ask: all, or with `keys_file` those with
    a key. Never those of requests that are not to be recorded."""


class EngineSettings(_Group):
    """The engine."""

    engine_url: str = "http://127.0.0.1:8100"
    """Base address of the vLLM server, without `/v1`; several replicas, separated by commas. Keep
    them private: they have no access control."""
    engine_model: str = "base"
    """The base model's name inside the engine (vLLM's --served-model-name)."""
    engine_timeout: float = Field(300.0, gt=0)
    """Seconds a request may take (504), unless it sets a deadline of its own."""
    probe_seconds: float = Field(2.0, gt=0)
    """Pause between one-token health probes of the engine."""
    keep_loaded: int = Field(2, ge=1)
    """Adapter versions kept in the engine: the live one and its predecessors. vLLM's --max-loras
    must leave room for one candidate and one draining version more."""
    capacity_tokens: int = Field(500_000, gt=0)
    """Estimated tokens (prompts and all rollouts) that may be under way at once. As it fills,
    top-ups, recording, extra rollouts and at last requests (503) are given up."""


class VoteSettings(_Group):
    """Votes."""

    rollouts: int = Field(16, ge=1)
    """Rollouts per voted query when the request does not say."""
    rollouts_min: int = Field(0, ge=0)
    """Rollouts to start with; more are drawn only while the vote is open. 0: all at once. Worth
    it with `vote_confidence` below 1."""
    max_rollouts: int = Field(64, ge=1)
    """Most rollouts, and most choices `n`, one request may ask for."""
    vote_confidence: float = Field(1.0, gt=0.5, le=1)
    """Answer once the leading answer is the more common one with this probability; 1: once it
    cannot be overtaken."""
    rollout_temperature: float = Field(1.0, gt=0, le=2)
    """Sampling temperature of voted queries. TTRL: 1.0 for math and reasoning models, else 0.6; in
    docs/results.md 0.6 learns less than 1.0, for its rollouts are too much alike."""


class RecordingSettings(_Group):
    """Recording: for the learner, and for feedback."""

    train_rollouts: int = Field(32, ge=0)
    """Groups for the learner are completed to this many rollouts while the engine is idle; 0 never.
    The TTRL paper votes over 64; in docs/results.md 32 learn as well, for half the sampling."""
    record_top_logprobs: int = Field(0, ge=0, le=20)
    """Top log-probabilities to have the engine return for every token of a vote, so that entropies
    are recorded with its rollouts: what the reward `dare` with `entropy=topk` learns from. 5 are
    enough; 0 records none."""
    vocab_size: int = Field(0, ge=0)
    """Tokens in the model's vocabulary, for those entropies; 0 reads `config.json` in the folder
    `model`, and takes 151936 where there is none."""
    recorder_queue: int = Field(1024, gt=0)
    """Groups that may wait in memory for Redis; further ones are dropped and counted."""
    feedback_seconds: float = Field(86_400.0, gt=0)
    """How long the answers behind a reply are remembered, so that feedback on it can be counted."""


class GateSettings(_Group):
    """The gate: parity and trial of a candidate."""

    gate_prompts: int = Field(16, ge=2)
    """Candidates wait until this many distinct queries have been seen: on recent ones a candidate
    is compared with the live version and base."""
    gate_queries: int = Field(160, ge=1)
    """Most queries to spend on one candidate; it is turned away if nothing is proven by then."""
    gate_rollouts: int = Field(8, ge=2)
    """Rollouts per query in the gate."""
    gate_margin: float = Field(0.05, gt=0, lt=1)
    """A candidate passes once it is proven, at 95%, not to score worse by this much, neither than
    the live version nor than base. Smaller margins take more queries: about 3 / margin."""
    gate_refresh: int = Field(16, ge=1)
    """Judge this many candidates on the same queries before drawing new ones."""
    gate_file: Path | None = None
    """Labelled questions of your own, which a candidate must not answer worse either: a JSON object
    a line, with `question` (or `messages`) and `answer`. Labels decide promotions only."""
    gate_max_kl: float = Field(1.0, gt=0)
    """Reject above this KL to base (nats per token, as the trainer measured it)."""
    gate_min_margin: float = Field(0.12, ge=0, le=1)
    """Reject everything while base's mean vote margin is below this: it knows too little to be its
    own teacher."""
    gate_min_diversity: float = Field(0.7, ge=0, le=1)
    """Reject if the diversity of answers across queries falls below this share of base's."""
    gate_max_drop: float = Field(0.1, ge=0, le=1)
    """Reject if agreement or the share of answering rollouts falls by more, live to new."""
    gate_max_stretch: float = Field(2.0, gt=1)
    """Reject if the mean length leaves [1/x, x] times base's."""
    parity_tolerance: float = Field(0.02, gt=0)
    """Largest mean difference (nats per token) between engine and trainer on pinned tokens. fp32 on
    both sides agrees to 1e-5; bf16 needs about this much."""


class WatchSettings(_Group):
    """Canary, and watch over the live version."""

    canary_share: float = Field(0.0, ge=0, le=0.5)
    """Share of requests that a candidate answers after the gate and before it goes live; 0 for
    none."""
    canary_seconds: float = Field(600.0, gt=0)
    """A canary that has not seen `watch_queries` queries by then is turned away."""
    watch_queries: int = Field(64, ge=8)
    """Voted queries after which live traffic is believed: of a canary, and of a live version, which
    is compared with its parent again and rolled back if it turns out worse."""


class ServerSettings(
    ChannelSettings,
    ListenSettings,
    PageSettings,
    EngineSettings,
    VoteSettings,
    RecordingSettings,
    GateSettings,
    WatchSettings,
):
    """The live path. Nothing else in this process reads the environment."""
