"""The engine seam: everything the server asks of vLLM, and what can go wrong there."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from rewards.rollouts import Rollout


class EngineError(Exception):
    """Root of what the engine boundary raises."""


class EngineUnavailable(EngineError):
    """No connection, or the connection broke before a whole reply."""


class EngineTimeout(EngineError):
    """No whole reply within the deadline."""


class EngineReplyInvalid(EngineError):
    """A reply that is malformed, short, or not finite."""


class EngineRefused(EngineError):
    """The engine answered with a client error: the request cannot be served as it stands."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True, slots=True)
class Sample:
    """n rollouts of one prompt; `choices[i]` is the engine's own OpenAI choice of `rollouts[i]`."""

    prompt_ids: Sequence[int]
    choices: Sequence[Mapping[str, Any]]
    rollouts: Sequence[Rollout]

    @property
    def completion_tokens(self) -> int:
        """Generated tokens of all rollouts."""
        return sum(len(rollout.token_ids) for rollout in self.rollouts)


class Engine(Protocol):
    """A model server with hot-loadable adapters. All methods raise EngineError."""

    async def sample(
        self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> Sample:
        """Rollouts with token ids and log-probabilities; `options` are OpenAI request fields."""
        ...

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A chat completion, passed through."""
        ...

    def stream(
        self, body: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """A chat completion's chunks, passed through as they come."""
        ...

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        """Log-probability of each token from the second on, given those before it."""
        ...

    async def models(self) -> list[str]:
        """Names that can be asked for now."""
        ...

    async def load(self, name: str, path: str) -> None:
        """Make the adapter in folder `path` available as `name`. Repeating is harmless."""
        ...

    async def unload(self, name: str) -> None:
        """Forget an adapter. Repeating is harmless."""
        ...

    async def probe(self) -> None:
        """Generate one token, or raise."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
