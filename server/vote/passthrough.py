"""Single rollouts: the engine's own reply, under our names."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from server.api.replies import DONE, new_id, single_extension
from server.api.requests import PASSED_SINGLE, SamplingRequest
from server.engine.base import Engine
from server.engine.vllm_replies import read_event
from server.policy.leases import Lease

_FINISHED = b'"finish_reason":"'


class Passthrough:
    """Sends requests on as they are. Raises EngineError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def reply(self, request: SamplingRequest, lease: Lease, seconds: float) -> dict[str, Any]:
        """The engine's completion."""
        completion = await self._engine.complete(*_addressed(request, lease), seconds)
        ours = {"id": new_id(request), "model": request.model}
        return {**completion, **ours, "ratchet": single_extension(request, lease)}

    async def events(
        self, request: SamplingRequest, lease: Lease, seconds: float
    ) -> AsyncGenerator[bytes, None]:
        """The engine's stream, byte for byte but for the names."""
        prompt, body = _addressed(request, lease)
        relabel = Relabel(new_id(request), request.model, single_extension(request, lease))
        async with self._engine.stream(prompt, body | {"stream": True}, seconds) as batches:
            async for events in batches:
                yield b"".join(b"data: " + relabel(event) + b"\n\n" for event in events)
        yield DONE


class Relabel:
    """Puts our id and model name into chunks; the extension into those that end a choice.

    Without reading them, once the first has shown where the names stand: first in the text, before
    anything that a model has written. In JSON no written text can hold an unescaped quote.
    """

    def __init__(self, reply_id: str, model: str, extension: Mapping[str, Any]) -> None:
        self._ours = {"id": reply_id, "model": model}
        self._extension = extension
        self._names: list[tuple[bytes, bytes]] = []
        self._tail = b',"ratchet":' + orjson.dumps(extension) + b"}"

    def __call__(self, event: bytes) -> bytes:
        """The event's data with our names. Raises EngineUnavailable if it is an error."""
        if not self._names:
            self._names = self._find_names(event)
        for theirs, ours in self._names:
            found = event.find(theirs, 0, 300)
            if found < 0:
                return self._reread(event)
            event = event[:found] + ours + event[found + len(theirs) :]
        return event[:-1] + self._tail if _FINISHED in event else event

    def _find_names(self, event: bytes) -> list[tuple[bytes, bytes]]:
        chunk = read_event(event)
        return [
            (_member(key, chunk.get(key)), _member(key, ours)) for key, ours in self._ours.items()
        ]

    def _reread(self, event: bytes) -> bytes:
        chunk: dict[str, Any] = {**read_event(event), **self._ours}
        if any(choice.get("finish_reason") for choice in chunk["choices"]):
            chunk["ratchet"] = self._extension
        return orjson.dumps(chunk)


def _member(key: str, value: object) -> bytes:
    return orjson.dumps({key: value})[1:-1]


def _addressed(request: SamplingRequest, lease: Lease) -> tuple[Any, dict[str, Any]]:
    return request.prompt_for_engine, {
        "model": lease.engine_name,
        **request.passed_on(PASSED_SINGLE),
    }
