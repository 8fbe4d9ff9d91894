"""An engine that answers by script: for tests, and for measuring the server alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson

from rewards.rollouts import Rollout
from server.engine.base import (
    Chunk,
    Draw,
    EngineError,
    EngineRefused,
    EngineRequest,
    EngineTimeout,
    EngineUnavailable,
    Names,
    Piece,
    Prompt,
)

_LIKELIEST = [-0.1, -3.0]

Script = Callable[[str, Any, int], Sequence[str]]
"""(engine name, prompt, n) -> the n texts to answer with."""


class ScriptedEngine:
    """Each character is a token with log-probability -0.1, and `?` the runner-up with -3.

    Set `fault` to make every call raise, `breaks` to have that many draws break off where they wait
    for a rollout that is held back. A rollout whose index is in `held_back` is given out only
    once that event is set; of a stream, everything after the first chunk.
    """

    def __init__(self, script: Script, base_model: str = "base") -> None:
        self.script = script
        self.adapters: dict[str, str] = {}
        self.base_model = base_model
        self.fault: EngineError | None = None
        self.scores: Callable[[str, Sequence[int]], list[float]] = lambda _, t: (
            [-1.0] * (len(t) - 1)
        )
        self.requests: list[Mapping[str, Any]] = []
        self.held_back: dict[int, asyncio.Event] = {}
        self.under_way = 0
        self.breaks = 0

    @asynccontextmanager
    async def draw(
        self, request: EngineRequest
    ) -> AsyncGenerator[AsyncIterator[Sequence[Draw]], None]:
        count, tops = (int(request.options.get(name, 0)) for name in ("n", "top_logprobs"))
        with self._working(request, count or 1) as texts:
            drawn = enumerate(texts)
            yield self._batches([_draw(index, request.prompt, text, tops) for index, text in drawn])

    @asynccontextmanager
    async def write(
        self, request: EngineRequest
    ) -> AsyncGenerator[AsyncIterator[Sequence[Piece]], None]:
        with self._working(request) as [text]:
            yield ([piece] async for piece in self._pieces(request, text))

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        with self._working(request, int(request.options.get("n", 1))) as texts:
            generated = sum(map(len, texts))
        chat = not isinstance(request.prompt, str)
        usage = {"prompt_tokens": 1, "completion_tokens": generated, "total_tokens": 1 + generated}
        return {
            "id": "scripted",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": request.model,
            "choices": [_choice(i, request.prompt, text) for i, text in enumerate(texts)],
            "usage": usage,
        }

    @asynccontextmanager
    async def stream(
        self, request: EngineRequest, names: Names
    ) -> AsyncGenerator[AsyncIterator[Sequence[Chunk]], None]:
        head = {"id": names.id, "object": "chunk", "created": 0, "model": names.model}
        with self._working(request) as [text]:
            yield (
                [Chunk(orjson.dumps({**head, "choices": [piece.choice]}), piece.draw is not None)]
                async for piece in self._pieces(request, text)
            )

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

    async def _batches(self, draws: Sequence[Draw]) -> AsyncIterator[Sequence[Draw]]:
        free = [draw for draw in draws if draw.index not in self.held_back]
        if free:
            yield free
        for draw in draws:
            if draw.index in self.held_back:
                await self.held_back[draw.index].wait()
                if self.fault is not None:
                    raise self.fault
                if self.breaks:
                    self.breaks -= 1
                    raise EngineUnavailable("broken off")
                yield [draw]

    @contextmanager
    def _working(self, request: EngineRequest, count: int = 1) -> Generator[Sequence[str]]:
        """The texts to answer with, while the request is under way."""
        self._check(request.model)
        asked = {"model": request.model, "priority": request.priority, **request.options}
        self.requests.append({**_named(request.prompt), **asked})
        self.under_way += 1
        try:
            yield self.script(request.model, request.prompt, count)
        finally:
            self.under_way -= 1

    async def _pieces(self, request: EngineRequest, text: str) -> AsyncIterator[Piece]:
        prompt = request.prompt
        chat = not isinstance(prompt, str)
        role = {"role": "assistant", "content": ""}
        yield Piece(_streamed({"delta": role} if chat else {"text": ""}))
        written: list[dict[str, Any]] = [
            {"delta": {"content": c}, "logprobs": {"content": [_token(c)]}} if chat
            else {"text": c, "logprobs": {"token_logprobs": [-0.1]}}
            for c in text
        ]  # fmt: skip
        last: dict[str, Any] = {
            **({"delta": {}} if chat else {"text": ""}),
            "finish_reason": "stop",
        }
        whole = Piece(_streamed(last), _draw(0, prompt, text, 0))
        for piece in [*map(Piece, map(_streamed, written)), whole]:
            if 0 in self.held_back:
                try:
                    await asyncio.wait_for(self.held_back[0].wait(), request.seconds)
                except TimeoutError:
                    raise EngineTimeout("held back") from None
            if self.fault is not None:
                raise self.fault
            yield piece


def _streamed(piece: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None, **piece}


def _named(prompt: Prompt) -> dict[str, Any]:
    return {"prompt" if isinstance(prompt, str) else "messages": prompt}


def _draw(index: int, prompt: Prompt, text: str, tops: int) -> Draw:
    tokens = list(text.encode())
    rollout = Rollout(text, tokens, [-0.1] * len(tokens), "stop")
    likeliest = [_LIKELIEST[:tops]] * len(tokens) if tops else ()
    return Draw(index, [1], _choice(index, prompt, text, tops), rollout, likeliest)


def _choice(index: int, prompt: Prompt, text: str, tops: int = 0) -> dict[str, Any]:
    written: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    logprobs: dict[str, Any] = {"content": [_token(c, tops) for c in text]}
    if isinstance(prompt, str):
        written = {"text": text}
        logprobs = {
            "tokens": list(text),
            "token_logprobs": [-0.1] * len(text),
            "top_logprobs": [{c: -0.1, "?": -3.0} for c in text],
        }
    return {"index": index, **written, "logprobs": logprobs, "finish_reason": "stop"}


def _token(token: str, tops: int = 0) -> dict[str, Any]:
    likeliest = [{"token": token, "logprob": -0.1}, {"token": "?", "logprob": -3.0}][:tops]
    return {"token": token, "logprob": -0.1, "top_logprobs": likeliest}
