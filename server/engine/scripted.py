"""An engine that answers by script: for tests, and for measuring the server alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from rewards.rollouts import FINISHED, Rollout, ToolCall
from server.engine.base import (
    Batches,
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
    Service,
    each_prompt,
    is_chat,
)

CALLED = "tool_calls"
"""Finish reason of a rollout that ended by calling tools."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A rollout with more than text: tool calls, and reasoning before it."""

    text: str = ""
    calls: Sequence[ToolCall] = ()
    reasoning: str = ""
    finish_reason: str = ""

    @property
    def ended(self) -> str:
        """Its finish reason; by itself the one of what it has."""
        return self.finish_reason or (CALLED if self.calls else FINISHED)

    @property
    def written(self) -> str:
        """All that the model writes, a token a character."""
        calls = "".join(f"<{call.name}>{call.arguments}" for call in self.calls)
        return self.reasoning + self.text + calls

    @property
    def message(self) -> dict[str, Any]:
        """OpenAI's chat message."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning"] = self.reasoning
        if self.calls:
            message["content"] = self.text or None
            message["tool_calls"] = [_call(at, call) for at, call in enumerate(self.calls)]
        return message


Script = Callable[[str, Any, int], Sequence[str | Spoken]]
"""(engine name, prompt, n) -> the n texts to answer with."""


class ScriptedEngine:
    """Each character is a token with log-probability -0.1, and `?` the runner-up with -3.

    Set `fault` to make every call raise, `breaks` to have that many draws break off where they wait
    for a rollout that is held back. A rollout whose index is in `held_back` is given out only
    once that event is set; of a stream, everything after the first chunk.
    """

    def __init__(self, script: Script, base_model: str = "base") -> None:
        self.script, self.base_model = script, base_model
        self.adapters: dict[str, str] = {}
        self.fault: EngineError | None = None
        self.scores: Callable[[str, Sequence[int]], list[float]] = lambda _, t: (
            [-1.0] * (len(t) - 1)
        )
        self.requests: list[Mapping[str, Any]] = []
        self.held_back: dict[int, asyncio.Event] = {}
        self.under_way = 0
        self.breaks = 0

    @asynccontextmanager
    async def draw(self, request: EngineRequest) -> AsyncGenerator[Batches[Draw]]:
        count, tops = (int(request.options.get(name, 0)) for name in ("n", "top_logprobs"))
        with self._working(request, count or 1) as all_spoken:
            drawn = enumerate(all_spoken)
            draws = [_draw(index, request.prompt, spoken, tops) for index, spoken in drawn]
            yield self._batches(draws, request.seconds)

    @asynccontextmanager
    async def write(self, request: EngineRequest) -> AsyncGenerator[Batches[Piece]]:
        with self._working(request) as [spoken]:
            yield ([piece] async for piece in self._pieces(request, spoken))

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        with self._working(request, int(request.options.get("n", 1))) as all_spoken:
            generated = sum(len(spoken.written) for spoken in all_spoken)
        chat = is_chat(request.prompt)
        usage = {"prompt_tokens": 1, "completion_tokens": generated, "total_tokens": 1 + generated}
        return {
            "id": "scripted",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": request.model,
            "choices": [_choice(i, request.prompt, one) for i, one in enumerate(all_spoken)],
            "usage": usage,
        }

    @asynccontextmanager
    async def stream(self, request: EngineRequest, names: Names) -> AsyncGenerator[Batches[Chunk]]:
        raw = not is_chat(request.prompt)
        kind = "text_completion" if raw else "chat.completion.chunk"
        head = {"id": names.id, "object": kind, "created": 0, "model": names.model}
        with self._working(request) as all_spoken:
            yield (
                [Chunk(orjson.dumps({**head, "choices": [written]}), piece.draw is not None)]
                for index, spoken in enumerate(all_spoken)
                async for piece in self._pieces(request, spoken)
                for written in [{**piece.choice, "index": index}]
            )

    async def serve(self, service: Service, request: EngineRequest) -> dict[str, Any]:
        self._check(request.model)
        self.requests.append({"service": service, "model": request.model, **request.options})
        if service is Service.DETOKENIZE:
            return {"prompt": "".join(chr(one % 0xD800) for one in request.options["tokens"])}
        if service is Service.TOKENIZE:
            asked = request.options.get("prompt") or orjson.dumps(request.options["messages"])
            tokens = list(asked.encode() if isinstance(asked, str) else asked)
            return {"count": len(tokens), "max_model_len": 1_000, "tokens": tokens}
        embedding = {"object": "embedding", "index": 0, "embedding": [0.5]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "model": request.model, "data": [embedding], "usage": usage}

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        self._check(model)
        return self.scores(model, tokens)

    async def models(self) -> list[str]:
        await self.probe()
        return [self.base_model, *self.adapters]

    async def load(self, name: str, path: str) -> None:
        await self.probe()
        self.adapters[name] = path

    async def unload(self, name: str) -> None:
        await self.probe()
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

    @contextmanager
    def _working(self, request: EngineRequest, count: int = 1) -> Generator[Sequence[Spoken]]:
        """The rollouts to answer with, while the request is under way."""
        self._check(request.model)
        prompt = {"messages" if is_chat(request.prompt) else "prompt": request.prompt}
        named = {"model": request.model, "priority": request.priority}
        self.requests.append({**prompt, **named, **request.options})
        self.under_way += 1
        try:
            prompts = each_prompt(request.prompt)
            answered = [self.script(request.model, prompt, count) for prompt in prompts]
            yield [Spoken(one) if isinstance(one, str) else one for one in chain(*answered)]
        finally:
            self.under_way -= 1

    async def _batches(
        self, draws: Sequence[Draw], seconds: float | None
    ) -> AsyncIterator[Sequence[Draw]]:
        if free := [draw for draw in draws if draw.index not in self.held_back]:
            yield free
        for draw in draws:
            if draw.index in self.held_back:
                await self._released(draw.index, seconds)
                if self.breaks:
                    self.breaks -= 1
                    raise EngineUnavailable("broken off")
                yield [draw]

    async def _pieces(self, request: EngineRequest, spoken: Spoken) -> AsyncIterator[Piece]:
        raw = not is_chat(request.prompt)
        first = {"text": ""} if raw else {"delta": {"role": "assistant", "content": ""}}
        yield Piece(_streamed(first))
        for field, c in [("reasoning", c) for c in spoken.reasoning] + [
            ("content", c) for c in spoken.text
        ]:
            await self._released(0, request.seconds)
            delta = {"text": c} if raw else {"delta": {field: c}}
            logprobs = {"token_logprobs": [-0.1]} if raw else {"content": [_token(c)]}
            yield Piece(_streamed({**delta, "logprobs": logprobs}))
        for at, call in enumerate(spoken.calls):  # the name, then the arguments, as vLLM has them
            head, function = {"index": at}, _call(at, call)["function"]
            named = {**_call(at, call), "function": {"name": function["name"]}}
            yield Piece(_streamed({"delta": {"tool_calls": [{**head, **named}]}}))
            written = {"function": {"arguments": function["arguments"]}}
            yield Piece(_streamed({"delta": {"tool_calls": [{**head, **written}]}}))
        await self._released(0, request.seconds)
        last: dict[str, Any] = {"text": ""} if raw else {"delta": {}}
        whole = _draw(0, request.prompt, spoken, 0)
        yield Piece(_streamed({**last, "finish_reason": spoken.ended}), whole)

    async def _released(self, index: int, seconds: float | None = None) -> None:
        """Wait while that rollout is held back; raises EngineTimeout, or the fault."""
        if index in self.held_back:
            try:
                await asyncio.wait_for(self.held_back[index].wait(), seconds)
            except TimeoutError:
                raise EngineTimeout("held back") from None
        if self.fault is not None:
            raise self.fault


def _streamed(piece: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None, **piece}


def _draw(index: int, prompt: Prompt, spoken: Spoken, tops: int) -> Draw:
    tokens = list(spoken.written.encode())
    scores = [-0.1] * len(tokens)
    rollout = Rollout(spoken.text, tokens, scores, spoken.ended, calls=tuple(spoken.calls))
    likeliest = [[-0.1, -3.0][:tops]] * len(tokens) if tops else ()
    return Draw(index, [1], _choice(index, prompt, spoken, tops), rollout, likeliest)


def _choice(index: int, prompt: Prompt, spoken: Spoken, tops: int = 0) -> dict[str, Any]:
    text = spoken.written
    written: dict[str, Any] = {"message": spoken.message}
    logprobs: dict[str, Any] = {"content": [_token(c, tops) for c in text]}
    if not is_chat(prompt):
        written = {"text": text}
        logprobs = {
            "tokens": list(text),
            "token_logprobs": [-0.1] * len(text),
            "top_logprobs": [{c: -0.1, "?": -3.0} for c in text],
        }
    return {"index": index, **written, "logprobs": logprobs, "finish_reason": spoken.ended}


def _call(at: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{at}", "type": "function", "function": function}


def _token(token: str, tops: int = 0) -> dict[str, Any]:
    likeliest = [{"token": token, "logprob": -0.1}, {"token": "?", "logprob": -3.0}][:tops]
    return {"token": token, "logprob": -0.1, "top_logprobs": likeliest}
