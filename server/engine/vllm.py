"""vLLM's OpenAI-compatible server as the engine, over HTTP (vLLM 0.32)."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from server.engine.adapter_check import AdapterInvalid, check_adapter
from server.engine.base import (
    BASE_MODEL,
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
    Service,
)
from server.engine.base_name import BaseName
from server.engine.event_stream import events_of
from server.engine.relabel import Relabel
from server.engine.vllm_replies import (
    NO_ROUTE,
    RolloutAssembly,
    check_not_broken_off,
    pieces_of,
    read_event,
    read_lean,
    read_object,
    refusal,
)
from server.engine.vllm_requests import (
    CONNECT_SECONDS,
    SERVICES,
    TEXT,
    addressed,
    drawing,
    open_session,
)

log = logging.getLogger("ratchet.engine")

_PROBE_SECONDS, _PATIENCE = 10.0, 2.0
"""Seconds for a probe, and between two looks at whether an engine that did not answer it works."""
_AHEAD_OF_ALL = -1
_TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
_LEAN_INTERVAL, _INTERVAL = 8192, 512
"""Tokens an event of a rollout: some milliseconds' worth, without and with log-probabilities that
somebody wants whole."""


_NOBODY = "nothing listens there: is engine_url right, and has the engine started?"
_NO_HOST = "its host does not answer: is engine_url right, and can it be reached from here?"
_NO_LIST = "it has no list of models, so it is no vLLM server: is engine_url right?"
_NO_KEY = "it wants a key: set engine_key to its --api-key"
_NO_ADAPTERS = (
    "the engine loads no adapters: start it with --enable-lora and "
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
)
_PRIORITY = "--scheduling-policy priority, so that learning waits for clients"


class VllmEngine:
    """One vLLM server, which wants `key` if it is given. Without the name of its base model it is
    asked what it serves."""

    def __init__(self, url: str, base_model: str, timeout: float, key: str = "") -> None:
        self._url, self._timeout = url.rstrip("/").removesuffix("/v1"), timeout
        self._base = BaseName(base_model)
        self._headers = {"content-type": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._has_priorities = True
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def draw(self, request: EngineRequest) -> AsyncGenerator[Batches[Draw]]:
        options = request.options
        wanted, tops = options.get("logprobs"), options.get("top_logprobs")
        scored = wanted is not False or tops is not None
        path, body = drawing(await self._named(request), scored=scored)
        lean = not (wanted or tops or path == TEXT)
        # Nobody reads a rollout as it is written, but to read one of 32,000 tokens at once would
        # keep everybody waiting.
        if "tools" not in body:  # vLLM 0.32's llama3_json finds no call in what comes at once
            body["stream_interval"] = _LEAN_INTERVAL if lean else _INTERVAL
        if request.priority and self._has_priorities:
            body["priority"] = int(request.priority)
        read = read_lean if lean else read_event
        async with self._exchange(path, body, request.seconds) as reply:
            assembly = RolloutAssembly(int(options.get("n", 1)), scored=scored, tops=bool(tops))
            yield _draws(reply, assembly, read)

    @asynccontextmanager
    async def write(self, request: EngineRequest) -> AsyncGenerator[Batches[Piece]]:
        path, body = drawing(await self._named(request), scored=True)
        assembly = RolloutAssembly(1, tops=bool(request.options.get("top_logprobs")))
        async with self._exchange(path, body, request.seconds) as reply:
            yield (
                [piece for event in events for piece in pieces_of(read_event(event), assembly)]
                async for events in _events(reply)
            )

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        return await self._ask(*addressed(await self._named(request)), request.seconds)

    async def serve(self, service: Service, request: EngineRequest) -> dict[str, Any]:
        named = await self._named(request)
        try:
            body = {"model": named.model, **request.options}
            return await self._ask(SERVICES[service], body, request.seconds)
        except EngineRefused as error:
            if error.code == NO_ROUTE:
                raise EngineRefused(
                    400, f"the engine offers no {service}", None, "unsupported"
                ) from None
            raise

    @asynccontextmanager
    async def stream(self, request: EngineRequest, names: Names) -> AsyncGenerator[Batches[Chunk]]:
        path, body = addressed(await self._named(request))
        relabel = Relabel(names)
        async with self._exchange(path, {**body, "stream": True}, request.seconds) as reply:
            yield ([relabel(event) for event in events] async for events in _events(reply))

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        named = await self._named(EngineRequest(model, ""))
        body = {"model": named.model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0}
        reply = await self._ask(TEXT, {**body, "prompt_logprobs": 0})
        try:
            rows = zip(reply["choices"][0]["prompt_logprobs"][1:], tokens[1:], strict=True)
            return [float(row[str(token)]["logprob"]) for row, token in rows]
        except (KeyError, IndexError, TypeError, ValueError):
            raise EngineReplyInvalid("no prompt log-probabilities") from None

    async def models(self) -> list[str]:
        cards = await self._cards()
        self._base.learn(cards)
        return [self._base.ours(str(card.get("id"))) for card in cards]

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
                if error.code == NO_ROUTE:
                    raise EngineRefused(400, _NO_ADAPTERS) from None
                raise

    async def unload(self, name: str) -> None:
        try:
            async with self._exchange("/v1/unload_lora_adapter", {"lora_name": name}):
                pass
        except EngineRefused as error:
            if error.status != 404:
                raise

    async def probe(self) -> None:
        named = await self._named(EngineRequest(BASE_MODEL, ""))
        body = {"model": named.model, "prompt": [0], "max_tokens": 1, "temperature": 0}
        if self._has_priorities:
            body["priority"] = _AHEAD_OF_ALL
        try:
            await self._ask(TEXT, body, _PROBE_SECONDS)
        except EngineRefused as error:
            if error.status == 404:
                self._base.forget()
                self._base.learn(await self._cards())
            elif self._has_priorities and "priority" in str(error).lower():
                self._has_priorities = False
                log.warning("%s takes work in its order: start it with %s", self._url, _PRIORITY)
                await self.probe()
                return
            raise
        except EngineTimeout:
            # With all its sequences taken it begins nothing new, however urgent; but it works.
            before = await self._tokens()
            await asyncio.sleep(_PATIENCE)
            if not await self._tokens() > before:
                raise

    async def _named(self, request: EngineRequest) -> EngineRequest:
        """The request under the engine's own name for the model."""
        if not self._base.known:
            self._base.learn(await self._cards())
        return replace(request, model=self._base.of(request.model))

    async def _cards(self) -> Sequence[Mapping[str, Any]]:
        """The engine's list of models."""
        try:
            listed = (await self._ask("/v1/models", None, _PROBE_SECONDS))["data"]
        except (EngineRefused, EngineReplyInvalid, KeyError):
            raise EngineUnavailable(_NO_LIST) from None
        return cast("list[Mapping[str, Any]]", listed) if isinstance(listed, list) else []

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
            self._session = open_session()
        if self._session.closed:  # it has left the set of replicas meanwhile
            raise EngineUnavailable(f"{path}: disconnected")
        seconds = seconds or self._timeout
        try:
            async with self._session.request(
                "GET" if body is None else "POST",
                self._url + path,
                data=None if body is None else orjson.dumps(body),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS),
            ) as reply:
                if reply.status == 500:  # it is there, and failed at this request
                    raise EngineReplyInvalid(f"{path}: status 500")
                if reply.status > 500:
                    raise EngineUnavailable(f"{path}: status {reply.status}")
                if reply.status in (401, 403):
                    raise EngineUnavailable(_NO_KEY)
                if reply.status >= 400:
                    raise refusal(reply.status, await reply.read())
                yield reply
        except EngineRefused as error:
            if path == TEXT and (error.param == "messages" or "empty" in str(error)):
                error.param = "prompt"
            raise
        except aiohttp.ClientConnectorError:
            raise EngineUnavailable(_NOBODY) from None
        except aiohttp.ConnectionTimeoutError:
            raise EngineUnavailable(_NO_HOST) from None
        except TimeoutError:
            raise EngineTimeout(f"{path}: no reply within {seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"{path}: {type(error).__name__}") from None


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
