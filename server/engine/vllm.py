"""vLLM's OpenAI-compatible server as the engine, over HTTP (vLLM 0.32)."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from server.engine.adapter_check import AdapterInvalid, check_adapter
from server.engine.base import (
    Batches,
    Chunk,
    Draw,
    EngineRefused,
    EngineReplyInvalid,
    EngineRequest,
    EngineTimeout,
    EngineUnavailable,
    Names,
    Piece,
)
from server.engine.event_stream import events_of
from server.engine.relabel import Relabel
from server.engine.vllm_replies import (
    RolloutAssembly,
    check_not_broken_off,
    pieces_of,
    read_event,
    read_lean,
    read_object,
    refusal,
)

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
_PROBE_SECONDS, _PATIENCE = 10.0, 2.0
"""Seconds for a probe, and between two looks at whether an engine that did not answer it works."""
_AHEAD_OF_ALL = -1
_TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
_LEAN_INTERVAL, _INTERVAL = 8192, 512
"""Tokens an event of a rollout: some milliseconds' worth, without and with log-probabilities that
somebody wants whole."""


class VllmEngine:
    """One vLLM server. One session, no connection limit: vLLM does the queueing."""

    def __init__(self, url: str, base_model: str, timeout: float) -> None:
        self._url, self._base_model, self._timeout = url.rstrip("/"), base_model, timeout
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def draw(self, request: EngineRequest) -> AsyncGenerator[Batches[Draw]]:
        options = request.options
        wanted, tops = options.get("logprobs"), options.get("top_logprobs")
        scored = wanted is not False or tops is not None
        path, body = _drawing(request, scored=scored)
        lean = not (wanted or tops or path == TEXT)
        # Nobody reads a rollout as it is written, but to read one of 32,000 tokens at once would
        # keep everybody waiting.
        if "tools" not in body:  # vLLM 0.32's llama3_json finds no call in what comes at once
            body["stream_interval"] = _LEAN_INTERVAL if lean else _INTERVAL
        if request.priority:
            body["priority"] = int(request.priority)
        read = read_lean if lean else read_event
        async with self._exchange(path, body, request.seconds) as reply:
            assembly = RolloutAssembly(int(options.get("n", 1)), scored=scored, tops=bool(tops))
            yield _draws(reply, assembly, read)

    @asynccontextmanager
    async def write(self, request: EngineRequest) -> AsyncGenerator[Batches[Piece]]:
        path, body = _drawing(request, scored=True)
        assembly = RolloutAssembly(1, tops=bool(request.options.get("top_logprobs")))
        async with self._exchange(path, body, request.seconds) as reply:
            yield (
                [piece for event in events for piece in pieces_of(read_event(event), assembly)]
                async for events in _events(reply)
            )

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        return await self._ask(*_addressed(request), request.seconds)

    @asynccontextmanager
    async def stream(self, request: EngineRequest, names: Names) -> AsyncGenerator[Batches[Chunk]]:
        path, body = _addressed(request)
        relabel = Relabel(names)
        async with self._exchange(path, {**body, "stream": True}, request.seconds) as reply:
            yield ([relabel(event) for event in events] async for events in _events(reply))

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        body = {"model": model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0}
        reply = await self._ask(TEXT, {**body, "prompt_logprobs": 0})
        try:
            rows = zip(reply["choices"][0]["prompt_logprobs"][1:], tokens[1:], strict=True)
            return [float(row[str(token)]["logprob"]) for row, token in rows]
        except (KeyError, IndexError, TypeError, ValueError):
            raise EngineReplyInvalid("no prompt log-probabilities") from None

    async def models(self) -> list[str]:
        listed = await self._ask("/v1/models", None, _PROBE_SECONDS)
        return [model["id"] for model in listed["data"]]

    async def load(self, name: str, path: str) -> None:
        try:
            await asyncio.to_thread(check_adapter, Path(path))
        except (AdapterInvalid, OSError) as error:
            raise EngineRefused(400, str(error)) from None
        body = {"lora_name": name, "lora_path": path}
        try:
            async with self._exchange("/v1/load_lora_adapter", body):
                pass
        except EngineRefused as error:
            if "already been loaded" not in str(error) and "already loaded" not in str(error):
                raise

    async def unload(self, name: str) -> None:
        try:
            async with self._exchange("/v1/unload_lora_adapter", {"lora_name": name}):
                pass
        except EngineRefused as error:
            if error.status != 404:
                raise

    async def probe(self) -> None:
        body = {"model": self._base_model, "prompt": [0], "max_tokens": 1, "temperature": 0}
        try:
            await self._ask(TEXT, {**body, "priority": _AHEAD_OF_ALL}, _PROBE_SECONDS)
        except EngineTimeout:
            # With all its sequences taken it begins nothing new, however urgent; but it works.
            before = await self._tokens()
            await asyncio.sleep(_PATIENCE)
            if not await self._tokens() > before:
                raise

    async def _tokens(self) -> float:
        """Tokens that the engine has worked off since its start; NaN if it does not say."""
        async with self._exchange("/metrics", None, _PROBE_SECONDS) as reply:
            lines = (await reply.text()).splitlines()
        counted = [float(line.split()[-1]) for line in lines if line.startswith(_TOKENS)]
        return sum(counted) if counted else math.nan

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self, path: str, body: Mapping[str, Any] | None, seconds: float | None = None
    ) -> dict[str, Any]:
        async with self._exchange(path, body, seconds) as reply:
            content = await reply.read()
        check_not_broken_off(content)
        return read_object(content)

    @asynccontextmanager
    async def _exchange(
        self, path: str, body: Mapping[str, Any] | None, seconds: float | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """One POST, or GET without a body; all that can go wrong becomes an EngineError here."""
        if self._session is None:
            # vLLM closes idle connections after 5 s: close ours sooner, or a request may hit that.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0)
            self._session = aiohttp.ClientSession(connector=connector)
        if self._session.closed:  # it has left the set of replicas meanwhile
            raise EngineUnavailable(f"{path}: disconnected")
        seconds = seconds or self._timeout
        try:
            async with self._session.request(
                "GET" if body is None else "POST",
                self._url + path,
                data=None if body is None else orjson.dumps(body),
                headers={"content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=seconds, connect=5.0),
            ) as reply:
                if reply.status == 500:  # it is there, and failed at this request
                    raise EngineReplyInvalid(f"{path}: status 500")
                if reply.status > 500:
                    raise EngineUnavailable(f"{path}: status {reply.status}")
                if reply.status >= 400:
                    raise refusal(reply.status, await reply.read())
                yield reply
        except TimeoutError:
            raise EngineTimeout(f"{path}: no reply within {seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"{path}: {type(error).__name__}") from None


def _addressed(request: EngineRequest) -> tuple[str, dict[str, Any]]:
    """Path and body for a prompt of that kind."""
    path, name = (TEXT, "prompt") if isinstance(request.prompt, str) else (CHAT, "messages")
    return path, {"model": request.model, name: request.prompt, **request.options}


def _drawing(request: EngineRequest, *, scored: bool) -> tuple[str, dict[str, Any]]:
    """Path and body for rollouts with token ids."""
    path, body = _addressed(request)
    body |= {"stream": True, "return_token_ids": True}
    tops = body.pop("top_logprobs", None) or 0
    if path == TEXT:
        body["logprobs"] = tops if scored else None
    elif scored:
        body |= {"logprobs": True, "top_logprobs": tops}
    return path, body


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[Sequence[bytes]]:
    empty = True
    try:
        async for events in events_of(reply.content.iter_any()):
            empty = False
            yield events
    except EOFError:
        raise EngineUnavailable("the stream ended early") from None
    if empty:  # what vLLM streams when it is asked while it ends
        raise EngineUnavailable("the engine is ending: the stream is empty")


async def _draws(
    reply: aiohttp.ClientResponse,
    assembly: RolloutAssembly,
    read: Callable[[bytes], dict[str, Any]],
) -> AsyncIterator[Sequence[Draw]]:
    async for events in _events(reply):
        if draws := assembly.add(map(read, events)):
            yield draws
    assembly.check_whole()
