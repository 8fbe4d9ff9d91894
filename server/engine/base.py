"""The engine contract: everything the server asks of a model server, and what can go wrong there.

Requests and choices are in OpenAI's form. Whatever else an engine speaks stays in this folder.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import orjson

from rewards.rollouts import Rollout


class EngineError(Exception):
    """Root of what the engine boundary raises."""


class EngineUnavailable(EngineError):
    """No connection, or the connection broke before a whole reply."""


class EngineTimeout(EngineError):
    """No whole reply within the deadline."""


class EngineFailed(EngineUnavailable):
    """The engine failed at this request. Whether it would at others too, a probe tells."""


class EngineReplyInvalid(EngineError):
    """A reply that is malformed, short, or not finite."""


class EngineRefused(EngineError):
    """The engine answered with a client error: the request cannot be served as it stands."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


BASE_MODEL = "base"
"""What an engine's base model is called here, whatever the engine calls it itself."""

Prompt: TypeAlias = (
    str | Sequence[int] | Sequence[Mapping[str, Any]] | Sequence[str] | Sequence[Sequence[int]]
)
"""A raw prompt as text or token ids, or messages for the model's chat template. Of the calls that
pass a completion through, `complete` and `stream`, also several raw prompts."""


def is_chat(prompt: Prompt) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """Whether a prompt is messages."""
    return not isinstance(prompt, str) and bool(prompt) and isinstance(prompt[0], Mapping)


def each_prompt(prompt: Prompt) -> Sequence[Prompt]:
    """Each of several raw prompts; what is one prompt as the only one."""
    if isinstance(prompt, str) or not prompt or isinstance(prompt[0], int | Mapping):
        return [prompt]
    return cast("Sequence[Prompt]", prompt)


_CHARS_PER_TOKEN = 4


def size_of(prompt: Prompt) -> int:
    """About how many characters a prompt has, a token counting as four."""
    if isinstance(prompt, str) or not prompt:
        return len(prompt)
    if isinstance(prompt[0], int):
        return _CHARS_PER_TOKEN * len(prompt)
    if is_chat(prompt):
        return len(orjson.dumps(prompt))
    return sum(map(size_of, each_prompt(prompt)))


def tokens_in(chars: int) -> int:
    """About how many tokens so many characters are."""
    return -(-chars // _CHARS_PER_TOKEN)


class Priority(IntEnum):
    """The order of work if the engine cannot do all of it at once; greater is later."""

    CLIENT = 0
    GATE = 1
    TOP_UP = 2


class Service(StrEnum):
    """What an engine does beside completions; bodies and replies are OpenAI's, or vLLM's."""

    EMBEDDINGS = "embeddings"
    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Asks the policy with the engine name `model` to continue `prompt` under `options`, which are
    OpenAI request fields, within `seconds`, or else within the engine's usual time."""

    model: str
    prompt: Prompt
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    priority: Priority = Priority.CLIENT
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """Id and model name that replace the engine's in a stream that is passed through."""

    id: str
    model: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a passed-through stream: a chunk's JSON, and whether it ends a choice."""

    data: bytes
    ends: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """One finished rollout of a prompt, and its OpenAI choice. `top_logprobs` [T][k] are, if asked
    for, the log-probabilities of the likeliest tokens at each position."""

    index: int
    prompt_ids: Sequence[int]
    choice: Mapping[str, Any]
    rollout: Rollout
    top_logprobs: Sequence[Sequence[float]] = ()
    reasoning_tokens: int = 0
    """Those of its tokens that are reasoning: counted if they come one by one, else estimated."""

    @property
    def tokens(self) -> int:
        """Tokens of the rollout."""
        return len(self.rollout.token_ids)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a rollout as it is written: an OpenAI chunk's choice. The last has the rollout."""

    choice: Mapping[str, Any]
    draw: Draw | None = None


T = TypeVar("T")
Batches: TypeAlias = AsyncIterator[Sequence[T]]
"""Results as they come, several at a time where they are ready together."""
BatchStream: TypeAlias = AbstractAsyncContextManager[Batches[T]]
"""Opens such results; leaving the context early aborts the rest in the engine."""


class Engine(Protocol):
    """A model server with hot-loadable adapters. All methods raise EngineError."""

    def draw(self, request: EngineRequest) -> BatchStream[Draw]:
        """`options["n"]` rollouts with token ids and log-probabilities, each once it is finished.
        Choices have `logprobs` if that option is true or `top_logprobs` is set. With `logprobs`
        false, rollouts need not have any either, which is faster."""
        ...

    def write(self, request: EngineRequest) -> BatchStream[Piece]:
        """One rollout piece by piece, with token ids and log-probabilities."""
        ...

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        """A completion, passed through."""
        ...

    def stream(self, request: EngineRequest, names: Names) -> BatchStream[Chunk]:
        """A completion's events as they come, under other names, without the final `[DONE]`."""
        ...

    async def serve(self, service: Service, request: EngineRequest) -> dict[str, Any]:
        """The reply of a service, whose request's other fields are the options; the prompt is only
        what the work is shared out by."""
        ...

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        """Log-probability of each token from the second on, given those before it."""
        ...

    async def models(self) -> list[str]:
        """Names of the models it serves now."""
        ...

    async def load(self, name: str, path: str) -> None:
        """Make the adapter in folder `path` available as `name`. Repeating is harmless."""
        ...

    async def unload(self, name: str) -> None:
        """Remove an adapter. Repeating is harmless."""
        ...

    async def probe(self) -> None:
        """Generate one token, or raise."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


async def draw_all(engine: Engine, request: EngineRequest) -> list[Draw]:
    """All rollouts, in order of their index. Raises EngineError."""
    async with engine.draw(request) as batches:
        draws = [draw async for batch in batches for draw in batch]
    return sorted(draws, key=lambda draw: draw.index)
