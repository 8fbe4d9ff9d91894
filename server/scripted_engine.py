"""An engine that answers by script: for tests, and for measuring the server alone."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rewards.rollouts import Rollout
from server.engine import EngineError, EngineRefused, Sample

Script = Callable[[str, Sequence[Mapping[str, Any]], int], Sequence[str]]
"""(engine name, messages, n) -> the n texts to answer with."""


class ScriptedEngine:
    """Each character is a token with log-probability -0.1, and `?` the runner-up with -3.

    Set `fault` to make every call raise.
    """

    def __init__(self, script: Script, base_model: str = "base") -> None:
        self._script = script
        self.adapters: dict[str, str] = {}
        self.base_model = base_model
        self.fault: EngineError | None = None
        self.scores: Callable[[str, Sequence[int]], list[float]] = lambda _, t: (
            [-1.0] * (len(t) - 1)
        )
        self.requests: list[Mapping[str, Any]] = []

    async def sample(
        self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> Sample:
        self._check(model)
        self.requests.append({"model": model, "messages": messages, **options})
        texts = self._script(model, messages, int(options.get("n", 1)))
        tops = int(options.get("top_logprobs", 0))
        choices = [_choice(index, text, tops) for index, text in enumerate(texts)]
        rollouts = [Rollout(t, list(t.encode()), [-0.1] * len(t.encode()), "stop") for t in texts]
        return Sample([1], choices, rollouts)

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._check(body["model"])
        self.requests.append(body)
        texts = self._script(body["model"], body["messages"], int(body.get("n", 1)))
        generated = sum(map(len, texts))
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [_choice(index, text) for index, text in enumerate(texts)],
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": generated,
                "total_tokens": 1 + generated,
            },
        }

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any]
    ) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
        self._check(body["model"])
        self.requests.append(body)
        yield self._chunks(self._script(body["model"], body["messages"], 1)[0])

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        self._check(model)
        return self.scores(model, tokens)

    async def models(self) -> list[str]:
        self._check(self.base_model)
        return [self.base_model, *self.adapters]

    async def load(self, name: str, path: str) -> None:
        self._check(self.base_model)
        self.adapters[name] = path

    async def unload(self, name: str) -> None:
        self._check(self.base_model)
        self.adapters.pop(name, None)

    async def probe(self) -> None:
        self._check(self.base_model)

    async def close(self) -> None:
        self.adapters.clear()

    def _check(self, model: str) -> None:
        if self.fault is not None:
            raise self.fault
        if model != self.base_model and model not in self.adapters:
            raise EngineRefused(404, f"The model {model} does not exist.", "model")

    async def _chunks(self, text: str) -> AsyncIterator[dict[str, Any]]:
        for delta in [{"role": "assistant", "content": ""}, *({"content": c} for c in text)]:
            yield _chunk(delta, None)
            if self.fault is not None:
                raise self.fault
        yield _chunk({}, "stop")


def _choice(index: int, text: str, tops: int = 0) -> dict[str, Any]:
    def likeliest(token: str) -> list[dict[str, Any]]:
        return [{"token": token, "logprob": -0.1}, {"token": "?", "logprob": -3.0}][:tops]

    return {
        "index": index,
        "message": {"role": "assistant", "content": text},
        "logprobs": {
            "content": [{"token": c, "logprob": -0.1, "top_logprobs": likeliest(c)} for c in text]
        },
        "finish_reason": "stop",
    }


def _chunk(delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
