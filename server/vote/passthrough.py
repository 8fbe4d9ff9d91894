"""What is passed through: the engine's own replies, under our names."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import orjson

from server.api.functions import in_older_form
from server.api.handed_on import HandedOn
from server.api.replies import DONE, Reply, single_extension
from server.api.requests import FORWARDED_SINGLE, SamplingRequest
from server.engine.base import Chunk, Engine, EngineRequest, Names
from server.policy.leases import Lease, Policy
from server.vote.admission import Admission

_SHARED_BY = 1_024
"""Characters of a request by which the replicas share the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandingOn:
    """One per server process; `seconds` is the engine's time for one request."""

    engine: Engine
    policy: Policy
    admission: Admission
    seconds: float

    async def reply(self, request: HandedOn) -> dict[str, Any]:
        """The engine's reply, under our name for the model. Raises Overloaded, UnknownModel,
        EngineError."""
        model, fields = request.model or self.policy.name, request.for_engine
        text = orjson.dumps(fields).decode()
        with (
            self.admission.admit(1, len(text), 1),
            self.policy.lease(model, judged=False) as lease,
        ):
            asked = EngineRequest(
                lease.engine_name, text[:_SHARED_BY], fields, seconds=self.seconds
            )
            reply = await self.engine.serve(request.service, asked)
        return {**reply, "model": model} if "model" in reply else reply


async def pass_through(
    engine: Engine, request: SamplingRequest, lease: Lease, seconds: float
) -> dict[str, Any]:
    """The engine's completion, with the extension. Raises EngineError."""
    completion = await engine.complete(_engine_request(request, lease, seconds))
    ours: dict[str, Any] = {"id": Reply.to(request).id, "model": request.model}
    if request.legacy:
        ours["choices"] = [in_older_form(choice) for choice in completion["choices"]]
    return {**completion, **ours, "ratchet": single_extension(request, lease)}


async def stream_through(
    engine: Engine, request: SamplingRequest, lease: Lease, seconds: float
) -> AsyncGenerator[bytes]:
    """The engine's stream, with the extension where a choice ends. Raises EngineError."""
    names = Names(Reply.to(request).id, request.model)
    tail = b',"ratchet":' + orjson.dumps(single_extension(request, lease)) + b"}"
    async with engine.stream(_engine_request(request, lease, seconds), names) as batches:
        async for chunks in batches:
            if request.legacy:
                chunks = [_in_older_form(chunk) for chunk in chunks]
            yield b"".join(_event(chunk, tail) for chunk in chunks)
    yield DONE


def _event(chunk: Chunk, tail: bytes) -> bytes:
    data = chunk.data[:-1] + tail if chunk.ends else chunk.data
    return b"data: " + data + b"\n\n"


def _in_older_form(chunk: Chunk) -> Chunk:
    event = orjson.loads(chunk.data)
    event["choices"] = [in_older_form(choice) for choice in event["choices"]]
    return Chunk(orjson.dumps(event), chunk.ends)


def _engine_request(request: SamplingRequest, lease: Lease, seconds: float) -> EngineRequest:
    options = request.forwarded(FORWARDED_SINGLE)
    return EngineRequest(lease.engine_name, request.prompt_for_engine, options, seconds=seconds)
