"""What replies look like, for the OpenAPI document: nothing is checked against it at run time."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class RatchetExtension(_Reply):
    """How an answer came about; nulls where nothing was voted on."""

    strategy: Literal["majority", "reflect", "single"]
    """What decided: `reflect` only where the model chose among several answers."""
    kind: str | None
    """The kind of the answer voted on, as docs/answers.md has them; `text` for prose."""
    rollouts: int
    """Rollouts counted: fewer than asked for where the vote was decided sooner."""
    valid: int | None
    """Those of them with an answer."""
    answer: str | None
    """The winner; null where too few rollouts agree."""
    agreement: float | None
    """The leading answer's share of the rollouts counted."""
    distribution: dict[str, float] | None
    """Share of each answer, by its canonical form; of JSON and tool calls, by field (a JSON
    Pointer), the share that has the leading value."""
    policy_version: int
    """The one version all rollouts came from; 0 is base."""
    recorded: bool
    votes: list[dict[str, Any]] | None = None
    """Of several prompts: each one's own object, with the `completion_id` that feedback names."""
    reason: str | None
    """Why `answer` is null, or why nothing is recorded."""


class Usage(_Reply):
    """Tokens; those of every rollout count."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Choice(_Reply):
    index: int
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class ChatChoice(_Choice):
    """One whole rollout."""

    message: dict[str, Any]


class TextChoice(_Choice):
    """One whole rollout of a raw prompt."""

    text: str


class _Completion(_Reply):
    id: str
    created: int
    model: str
    usage: Usage
    ratchet: RatchetExtension


class ChatReply(_Completion):
    """Reply to `POST /v1/chat/completions`; streamed, `chat.completion.chunk` events."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class TextReply(_Completion):
    """Reply to `POST /v1/completions`; streamed, events of the same form."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class Embeddings(_Reply):
    """Reply to `POST /v1/embeddings`: the engine's own."""

    data: list[dict[str, Any]]
    model: str


class Tokens(_Reply):
    """Reply to `POST /tokenize`: the engine's own."""

    tokens: list[int]
    count: int


class Detokenized(_Reply):
    """Reply to `POST /detokenize`: the engine's own."""

    prompt: str


class FeedbackReply(_Reply):
    """Reply to `POST /v1/feedback`."""

    object: Literal["ratchet.feedback"]
    completion_id: str
    correct: bool | None
    """Whether the answer given was right; null if this was not the first feedback on it."""
    counted: bool


class ModelCard(_Reply):
    """A model name that requests may use."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    """The base model."""
    parent: str | None
    """The name that it refers to: a version for the live name, base for a version."""


class ModelList(_Reply):
    """Reply to `GET /v1/models`."""

    object: Literal["list"]
    data: list[ModelCard]


class Readiness(_Reply):
    """Reply to `GET /readyz` and `GET /health`."""

    engine: bool
    engines: dict[str, bool]
    buffer: bool
    draining: bool
    version: int


class ErrorDetail(_Reply):
    """What went wrong, in OpenAI's form."""

    message: str
    type: str
    param: str | None
    """The offending field."""
    code: str | None


class Error(_Reply):
    """Every reply that is not a success."""

    error: ErrorDetail
