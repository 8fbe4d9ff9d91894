"""Settings of the server process, by what they are about."""

import re
from typing import Any

import orjson
from pydantic import Field, SecretStr, field_validator

from adapter.settings import ChannelSettings, SettingsGroup
from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import ANSWER_KINDS, AnswerKinds
from server.gate_settings import GateSettings, GuardSettings, WatchSettings
from server.listen_settings import ListenSettings, PageSettings


class EngineSettings(SettingsGroup):
    """The engine."""

    engine_url: str = "http://127.0.0.1:8100"
    """Base address of the vLLM server, without `/v1`; several replicas, separated by commas.
    `dns+http://HOST:8100` stands for a replica at each address of that host, looked up again and
    again: replicas may come and go. Keep them private: they have no access control."""
    engine_model: str = ""
    """The base model's name inside the engine (vLLM's --served-model-name). By default the engine
    is asked what it serves."""
    engine_key: SecretStr | None = None
    """The key that the engine wants, if it was started with vLLM's --api-key."""
    engine_timeout: float = Field(default=300.0, gt=0)
    """Seconds a request may take (504), unless it sets a deadline of its own. One whose
    `max_tokens` is above 4,096 has more, in proportion: 2,400 s for 32,768."""
    max_deadline: float = Field(default=3600.0, gt=0)
    """Longest deadline of its own that a request may set, in seconds; longer ones are cut."""
    probe_seconds: float = Field(default=2.0, gt=0)
    """Pause between one-token health probes of the engine."""
    keep_loaded: int = Field(default=2, ge=1)
    """Adapter versions kept in the engine: the live one and its predecessors. vLLM's --max-loras
    must leave room for one candidate and one draining version more."""
    capacity_tokens: int = Field(default=500_000, gt=0)
    """Estimated tokens (prompts and all rollouts) that may be under way at once. As it fills,
    top-ups, recording, extra rollouts and at last requests (503) are given up."""

    @field_validator("engine_url")
    @classmethod
    def _has_names_to_look_up(cls, value: str) -> str:
        for url in value.split(","):
            name = re.fullmatch(r"dns\+http://[\w.-]+:(\d{1,5})/?", url.strip())
            if "dns+" in url and (name is None or int(name[1]) > 65_535):
                raise ValueError(f"{url.strip()} must look like dns+http://HOST:8100")
        return value


class LearningShareSettings(SettingsGroup):
    """Learning's share of the engine."""

    learning_rollouts: int = Field(default=64, ge=1)
    """Most rollouts of the gate and of top-ups that the engine is given at once while no client
    waits, and none has for as long as they last did or two seconds. Those of the gate are broken
    off when one comes."""
    learning_rollouts_beside: int = Field(default=8, ge=1)
    """The same while clients wait for answers: these take part in every step of the engine, so more
    of them slow clients down, and fewer slow verdicts down."""
    gate_seconds: float = Field(default=120.0, gt=0)
    """Seconds that the engine gets for one query of the gate; a rollout that is not in by then
    counts as one without an answer."""


class VoteSettings(SettingsGroup):
    """Votes."""

    rollouts: int = Field(default=16, ge=1)
    """Rollouts per voted query when the request does not say."""
    rollouts_min: int = Field(default=0, ge=0)
    """Rollouts to start with; more are drawn only while the vote is open. 0: as many as questions
    like it have lately needed, or all at once where `vote_confidence` is 1."""
    max_rollouts: int = Field(default=64, ge=1)
    """Most rollouts, and most choices `n`, one request may ask for."""
    vote_confidence: float = Field(default=0.99, gt=0.5, le=1)
    """Answer once the leading answer is the more common one with this probability, by the votes, by
    what such questions have lately needed, and by how probable the rollouts are; 1: once it cannot
    be overtaken."""
    answer: str = "auto"
    """How answers are read and compared if the request does not say: a kind of docs/answers.md by
    its name, or a JSON object with `kind` and what that kind takes. `auto`: a marked answer, else
    JSON, else a reply of a few words."""
    budget: float = Field(default=0.0)
    """Most tokens generated, for whatever purpose, for each token of an answer; 0: no bound. Over
    it learning and judging wait for more traffic, and votes get half as many rollouts."""
    vote_support: float = Field(default=0.125, ge=0, le=1)
    """Least share of the rollouts that an answer needs to win, and two of them at least. Below it
    the rollout closest to all others is served, and `answer` is null."""
    rollout_temperature: float = Field(default=1.0, gt=0, le=2)
    """Sampling temperature of voted queries. TTRL: 1.0 for math and reasoning models, else 0.6; in
    docs/results.md 0.6 learns less than 1.0, since its rollouts are too similar."""

    @field_validator("budget")
    @classmethod
    def _covers_the_answer(cls, value: float) -> float:
        if value and not 1.0 <= value < 1e9:
            raise ValueError(
                "must be 0 for no bound, or at least 1: the answer itself is generated"
            )
        return value

    @field_validator("answer", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return orjson.dumps(value).decode() if isinstance(value, dict) else value

    @field_validator("answer")
    @classmethod
    def _is_a_choice(cls, value: str) -> str:
        AnswerKinds().of(choice_in(value))
        return value

    @property
    def answer_choice(self) -> AnswerChoice:
        """`answer`, read."""
        return choice_in(self.answer)


class RecordingSettings(SettingsGroup):
    """Recording: for the learner, and for feedback."""

    train_rollouts: int = Field(default=32, ge=0)
    """Groups for the learner are completed to this many rollouts while the engine is idle; 0 never.
    The TTRL paper votes over 64; in docs/results.md 32 learn as well, for half the sampling."""
    trainable_kinds: str = "math,choice,short,json,tool_calls,pattern"
    """Kinds of answers that are learnt from, separated by commas. `text` has no majority: the
    learner's reward must be one for prose (docs/rewards.md)."""
    train_support: float = Field(default=0.125, ge=0, le=1)
    """Least share of a query's rollouts that its leading answer must have, or its group is not
    learnt from."""
    record_top_logprobs: int = Field(default=0, ge=0, le=20)
    """Top log-probabilities that the engine returns for every token of a vote. Entropies computed
    from them are recorded with the rollouts, for the reward `dare` with `entropy=topk`. 5 are
    enough; 0 records none."""
    vocab_size: int = Field(default=0, ge=0)
    """Size of the model's vocabulary, for those entropies; 0 reads `config.json` in the folder
    `model`, and assumes 151936 if there is none."""
    recorder_queue: int = Field(default=1024, gt=0)
    """Groups that may wait in memory for Redis; further ones are dropped and counted."""
    feedback_seconds: float = Field(default=86_400.0, gt=0)
    """Seconds for which the answers behind a reply are remembered, so that feedback can count."""

    @field_validator("trainable_kinds")
    @classmethod
    def _are_kinds(cls, value: str) -> str:
        named = kinds_in(value)
        known = ", ".join(name for name in ANSWER_KINDS if name != "auto")
        if unknown := named - set(known.split(", ")):
            raise ValueError(f"no kind {sorted(unknown)[0]!r}; there are {known}")
        return value


class ServerSettings(
    ChannelSettings,
    ListenSettings,
    PageSettings,
    EngineSettings,
    LearningShareSettings,
    VoteSettings,
    RecordingSettings,
    GateSettings,
    GuardSettings,
    WatchSettings,
):
    """The live path. Nothing else in this process reads the environment."""


def choice_in(text: str) -> AnswerChoice:
    """An answer choice as settings have it: a name, or a JSON object. Raises ValueError."""
    if not text.lstrip().startswith("{"):
        return AnswerChoice.from_json(text)
    try:
        return AnswerChoice.from_json(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise ValueError("must be the name of a kind, or a JSON object") from None


def kinds_in(text: str) -> frozenset[str]:
    """Names that are separated by commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())
