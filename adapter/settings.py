"""Settings of the learner process, and those it shares with the server.

Each group is a class; a process combines the groups it needs, so that names stay flat. pydantic
lists the fields of the last base first.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapter.trainer import TRAFFIC_EVIDENCE, Loss
from rewards.advantages import ADVANTAGES
from rewards.estimators.estimate import RewardEstimator
from rewards.estimators.registry import build, options_of

_SWITCH = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"}


class SettingsGroup(BaseSettings):
    """Settings that belong together."""

    model_config = SettingsConfigDict(
        env_prefix="RATCHET_", extra="forbid", use_attribute_docstrings=True, frozen=True
    )


class PlaceSettings(SettingsGroup):
    """The model, and where the processes meet."""

    model: str = "evals/arithmetic/model"
    """Folder or Hugging Face id of the base model, as transformers and vLLM understand it."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the base model, the same in engine and learner: parity does not hold across two.
    `auto` is bfloat16 on a GPU and on processors with AMX; else float32. The output head's products
    and the adapter are in float32 in any case."""
    lora_targets: str = (
        "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,qkv_proj,gate_up_proj"
    )
    """Linear layers that get LoRA, in learner and engine, by the last part of their names; those
    that the model does not have are passed over. The output head cannot be among them: vLLM 0.32
    ends where it has LoRA and log-probabilities of a prompt are asked for."""
    model_name: str = "ratchet"
    """Name under which clients ask for the live, voted policy."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis or Valkey that carries groups and releases. `memory://` keeps both in one process."""
    adapters_dir: Path = Path(".ratchet/adapters")
    """Folder, shared by learner, server and engine, with one subfolder per adapter version."""
    equality_deadline: float = Field(default=1.0, gt=0)
    """Seconds to decide whether two answers are mathematically equal; after that they count as
    different. The same for server and learner, so that both see the same vote."""

    @field_validator("lora_targets")
    @classmethod
    def _has_no_head(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if not all(names) or "lm_head" in names:
            raise ValueError("must be names of linear layers, separated by commas, without lm_head")
        return ",".join(names)

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://", "memory:")):
            raise ValueError("must look like redis://HOST:6379/0")
        return value


class BufferSettings(SettingsGroup):
    """The rollout buffer."""

    buffer_max_bytes: int = Field(default=1 << 30, gt=0)
    """Rollout buffer: refuse new groups above this many payload bytes."""
    buffer_max_groups: int = Field(default=50_000, gt=0)
    """Rollout buffer: refuse new groups above this many entries."""
    retention_seconds: float = Field(default=7 * 86_400, gt=0)
    """Groups that have waited this long expire, and dead letters this old are deleted, whether or
    not a learner runs: no client's text stays longer."""
    keep_trained_seconds: float = Field(default=7 * 86_400, ge=0)
    """Trained groups are kept this much longer, up to `buffer_max_bytes` of them, so that `ratchet
    forget` can train the lineage again without a client; with 0 it can only roll back."""


class ChannelSettings(BufferSettings, PlaceSettings):
    """What every Ratchet process must agree on."""


class RewardSettings(SettingsGroup):
    """Rewards and advantages."""

    reward: str = "dare"
    """Reward estimator: `majority` (TTRL), `dare`, `soft_majority`, `scrl`, `confidence_majority`,
    `restrain`, `self_certainty`, `evol_rl`, `ttrl_guard` or `sr_ttrl`, which learns from requests
    with the strategy `reflect` alone. docs/rewards.md says what each is good for. `dare` is the
    default: in docs/results.md it needs fewer updates than `majority`, varies less from seed to
    seed and is nowhere below it. It costs the trainer one more forward pass."""
    reward_options: str = ""
    """Options of the estimator: `key=value`, separated by commas."""
    advantage: str = "grpo"
    """How rewards become advantages."""
    advantage_std_floor: float = Field(default=0.05, ge=0)
    """Least standard deviation to divide rewards by; differences below it are mostly noise."""
    advantage_clip: float | None = Field(default=None, gt=0)
    """Largest absolute advantage; none leaves advantages as they are."""

    @field_validator("advantage")
    @classmethod
    def _is_an_advantage(cls, value: str) -> str:
        if value not in ADVANTAGES:
            raise ValueError(f"must be one of {', '.join(ADVANTAGES)}")
        return value

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        estimator = self.estimator()
        if absent := estimator.needs - TRAFFIC_EVIDENCE:
            raise ValueError(
                f"reward {self.reward} needs {', '.join(sorted(absent))}, which live traffic does "
                "not carry; `ratchet score` can use it on recorded rollouts"
            )
        return self

    def estimator(self) -> RewardEstimator:
        """The reward estimator described. Raises ValueError naming what is wrong."""
        return build(self.reward, options_of(self.reward_options.split(",")))


class UpdateSettings(SettingsGroup):
    """Loss and optimiser."""

    loss: Loss = Loss.GRPO
    """Policy-gradient loss. `gspo` wants clips near 3e-4: it compares whole sequences."""
    passes: int = Field(default=1, gt=0)
    """Optimiser steps on each batch; from the second on, the clip has something to clip."""
    kl_coefficient: float = Field(default=0.001, ge=0)
    """Weight of the k3 KL estimate to the base model in the loss."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """PPO clip below: ratios under 1 - clip_low are cut."""
    clip_high: float = Field(default=0.28, gt=0)
    """PPO clip above: ratios over 1 + clip_high are cut."""
    importance_cap: float = Field(default=2.0, gt=0)
    """Cap of the token-level trainer/engine importance weights."""
    importance_mask: float = Field(default=8.0, gt=1)
    """Tokens whose trainer/engine ratio is outside [1/x, x] get no gradient: there the two do not
    speak of the same policy."""
    sequence_mask: float = Field(default=2.0, gt=1)
    """Rollouts are left out of an update where the geometric mean of these ratios over their tokens
    is outside [1/x, x]. At 2 that is 0.7 nats a token; bf16 alone makes 0.03 to 0.09."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """AdamW's rate. LoRA wants about ten times that of full fine-tuning; tiny models far more."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient clipping by global norm."""
    warmup_updates: int = Field(default=0, ge=0)
    """Updates over which the learning rate rises linearly to its value."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What the learning rate does after its warm-up."""
    schedule_updates: int = Field(default=1000, gt=0)
    """Updates after which a cosine schedule reaches 0."""


class BatchSettings(SettingsGroup):
    """The groups of an update, and how much of it one client may be."""

    groups_per_update: int = Field(default=8, gt=0)
    """Groups with a training signal that make up one update."""
    updates_per_candidate: int = Field(default=1, gt=0)
    """Updates, each from groups of its own, that a candidate is made of. To judge one costs as much
    however far it has come, so more of them are learnt from in the same time; but the last update
    learns from rollouts that are as many updates old, and a bad one takes the others along."""
    learn_rollouts: int = Field(default=0, ge=0)
    """Most rollouts of a group to learn from: those whose rewards differ most (PODS, arXiv
    2504.13818). All of them vote; 0 learns from all."""
    max_lag: int = Field(default=2, ge=0)
    """Drop groups sampled by a policy more than this many versions old. The newest are learnt from
    first, so older ones are needed only while traffic is slow."""
    client_groups: int | None = Field(default=None, gt=0)
    """Most groups of one client (the request's `user`) in one update; further ones are dropped.
    Requests without `user` are all one client, so with this, as with `client_token_share`, a
    deployment of too few clients to fill an update learns nothing, and says so in its log."""
    client_token_share: float = Field(default=1.0, gt=0, le=1)
    """Largest share of an update's completion tokens from one client. A full batch that breaks it
    drops a group of the client with most and waits for another; 1 is no limit."""
    duplicate_limit: int | None = Field(default=1, gt=0)
    """Most groups of nearly the same prompt (adapter/learner/prompt_print.py) in one update; none
    for no limit. With 1, an update needs `groups_per_update` different questions, which is no more
    than the gate needs."""
    variant_limit: int | None = Field(default=None, gt=0)
    """Most groups of one client in one update whose prompts differ in numbers and signs alone, as
    with a number made up for each request; none for no limit, as practice in arithmetic needs."""


class LoraSettings(SettingsGroup):
    """The LoRA adapter."""

    lora_rank: int = Field(default=16, gt=0)
    """LoRA rank; the engine's --max-lora-rank must be at least this."""
    lora_alpha: int = Field(default=32, gt=0)
    """LoRA alpha."""
    seed: int = 0
    """Seed of the LoRA initialisation."""


class DeviceSettings(SettingsGroup):
    """Memory and devices."""

    micro_batch_tokens: int = Field(default=0, ge=0)
    """Tokens per forward pass; 0 lets the memory plan choose, up to 8192 (docs/memory.md). When
    memory runs out it is halved, and the log says to what."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations in the backward pass: less memory, about a third slower. `auto` does so
    where the memory plan needs it."""
    gpu_memory_share: float = Field(default=0.95, gt=0, le=1)
    """Most of the GPU's memory that the learner may take. With the engine on the same GPU set it to
    0.95 less `gpu_memory_utilization`, so that an engine can restart beside it; `ratchet up` does.
    """
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train. `auto` takes a GPU when torch sees one."""
    peer_seconds: float = Field(default=600.0, gt=0)
    """On several devices: seconds that one process waits for another before all give up."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch; 0 means half the cores, as in the engine beside it."""

    @field_validator("gradient_checkpointing", mode="before")
    @classmethod
    def _was_a_boolean(cls, value: Any) -> Any:
        return _SWITCH.get(str(value).lower(), value)


class LineageSettings(SettingsGroup):
    """Versions: how long one lineage learns, and which are kept."""

    max_age: int = Field(default=10_000, ge=0)
    """Distinct queries that one lineage of versions may learn from, because it collapses if it
    learns without labels for too long; 0 for no limit. After that, `reanchor` is served and learnt
    from."""
    reanchor: Literal["last_good", "base"] = "last_good"
    """Where to go back to after `max_age`: the newest version with at least half of it left, or the
    base model."""
    keep_versions: int = Field(default=5, gt=1)
    """Retired adapter folders to keep for rollback; older ones are deleted."""
    lease_seconds: float = Field(default=15.0, gt=0)
    """Time to live of the single-learner lease."""


class TrackingSettings(SettingsGroup):
    """The learner's metrics and logs."""

    adapter_metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the learner's /metrics; 0 for none."""
    adapter_metrics_host: str = "127.0.0.1"
    """Address that it listens on. It has no key: keep it private."""
    log_dir: Path | None = Path(".ratchet/tensorboard")
    """Folder for the numbers of every update, for `tensorboard --logdir`; empty for none. The names
    are those of TRL's GRPOTrainer, the x axis is the version."""
    wandb_project: str = ""
    """Weights & Biases project for the same numbers; empty for none. Needs `ratchet[wandb]`."""
    wandb_mode: Literal["online", "offline"] = "online"
    """`offline` needs no network: `wandb sync` sends the run later."""


class SupervisionSettings(SettingsGroup):
    """What the learner does when it must not go on."""

    hold_after_giving_up: bool = False
    """When updates diverge for good, wait for SIGTERM in place of ending with status 3: for what
    restarts every process that ends (Docker, Kubernetes), and so would repeat it for ever."""


class AdapterSettings(
    SupervisionSettings, TrackingSettings, LineageSettings, DeviceSettings, LoraSettings,
    BatchSettings, UpdateSettings, RewardSettings, ChannelSettings,
):  # fmt: skip
    """The learner. Recipe defaults follow TTRL (arXiv 2504.16084) adjusted for LoRA."""

    @field_validator(
        "advantage_clip", "log_dir", "client_groups", "duplicate_limit", "variant_limit",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value in ("", "none", "None") else value
