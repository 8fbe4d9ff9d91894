"""Plain data: a rollout, and the group of all rollouts of one query."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice

FINISHED = "stop"
"""Finish reason of a rollout that ended by itself; a truncated one has no answer."""

ENDED = frozenset({FINISHED, "tool_calls", "function_call"})
"""Those of rollouts that ended by themselves, by calling tools too."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: its name, and its arguments as the model wrote them."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion, exactly as the engine produced it.

    `token_ids` and `logprobs` have one entry per generated token (the end token included);
    log-probabilities are natural, under the distribution that was sampled from. `entropy` is the
    mean token entropy in nats, estimated from the engine's top-k, where that was recorded. `calls`
    are the tools that the rollout calls, in its order.
    """

    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    finish_reason: str
    _: KW_ONLY
    entropy: float | None = None
    calls: Sequence[ToolCall] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a group's rollouts were drawn."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 0

    @property
    def trainable(self) -> bool:
        """Whether log-probabilities describe the full policy: no truncation of its support."""
        return self.temperature > 0 and self.top_p >= 1.0 and self.top_k <= 0


@dataclass(frozen=True, slots=True)
class Reflection:
    """What the model chose when it was shown one rollout per answer (`rewards.reflection`): an
    answer as a rollout wrote it, None if no choice could be read."""

    answer: str | None


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one query under one policy version. Carries no label, by design.

    `answer` says how answers are read and compared (`rewards.answers.kinds`). `reflection` is there
    if the model was asked to choose among its answers.
    """

    id: str
    prompt: str
    prompt_ids: Sequence[int]
    rollouts: Sequence[Rollout]
    policy_version: int
    sampling: Sampling
    client: str
    created_at: float
    answer: AnswerChoice = MATH_OR_LAST_NUMBER
    reflection: Reflection | None = None
