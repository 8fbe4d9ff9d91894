"""What is passed through: the engine's own replies, under our names."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from server.api.functions import in_older_form
from server.api.handed_on import HandedOn
from server.api.replies import DONE, Reply, single_extension
from server.api.requests import FORWARDED_SINGLE, SamplingRequest
from server.charge import Charge, Cost, CountTokens, charged
from server.engine.base import Chunk, Engine, EngineRequest, Names
from server.policy.leases import Lease, Policy
from server.vote.admission import Admission

_WITHOUT_CHOICES = b'"choices":[]'
"""In the chunk with the usage; what a model writes has its quotes escaped."""
_SHARED_BY = 1_024
"""Characters of a request by which the replicas share the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandingOn:
    """One per server process; `seconds` is the engine's time for one request."""

    engine: Engine
    policy: Policy
    admission: Admission
    seconds: float

    def cost(self, request: HandedOn) -> Cost:
        """What it costs by estimate."""
        return self.admission.cost(0, request.size, 1)

    async def reply(self, request: HandedOn, count: CountTokens) -> dict[str, Any]:
        """The engine's reply, under our name for the model. Raises Overloaded, UnknownModel,
        EngineError."""
        model, fields = request.model or self.policy.name, request.for_engine
        text = orjson.dumps(fields).decode()
        cost = self.cost(request)
        with (
            self.admission.admit(cost),
            self.policy.lease(model, judged=False) as lease,
            charged(cost, count) as charge,
        ):
            asked = EngineRequest(
                lease.engine_name, text[:_SHARED_BY], fields, seconds=self.seconds
            )
            reply = await self.engine.serve(request.service, asked)
            charge.settle(request.cost(reply) or cost.prompt)
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
    engine: Engine, request: SamplingRequest, lease: Lease, seconds: float, charge: Charge
) -> AsyncGenerator[bytes]:
    """The engine's stream, with the extension where a choice ends, charged by the usage that the
    engine is asked for, whether or not the client is. Raises EngineError."""
    names = Names(Reply.to(request).id, request.model)
    tail = b',"ratchet":' + orjson.dumps(single_extension(request, lease)) + b"}"
    asked = _engine_request(request, lease, seconds)
    usual = {} if request.includes_usage else {"continuous_usage_stats": False}
    wanted = {**asked.options.get("stream_options", {}), **usual, "include_usage": True}
    asked = replace(asked, options={**asked.options, "stream_options": wanted})
    async with engine.stream(asked, names) as batches:
        if asked.options.get("include_reasoning") is not False:  # else some make no chunk
            charge.stream()
        used = 0
        async for chunks in batches:
            if chunks and _WITHOUT_CHOICES in chunks[-1].data:
                usage: dict[str, int] = orjson.loads(chunks[-1].data).get("usage") or {}
                used = usage.get("total_tokens", 0)
                if not request.includes_usage:
                    chunks = chunks[:-1]
            # About so many tokens, until there is the usage.
            charge.see(request.tokens_an_event * len(chunks))
            if request.legacy:
                chunks = [_in_older_form(chunk) for chunk in chunks]
            if chunks:
                yield b"".join(_event(chunk, tail) for chunk in chunks)
        if used:
            charge.settle(used)
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
