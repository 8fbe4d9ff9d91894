"""vLLM's OpenAI-compatible server as the engine, over HTTP (vLLM 0.32)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from server.engine.adapter_check import AdapterUnfit, check_adapter
from server.engine.base import (
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
from server.engine.vllm_replies import RolloutAssembly, pieces_of, read_event, read_lean, refusal

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
_PROBE_SECONDS = 10.0


class VllmEngine:
    """One vLLM server. One session, no connection limit: vLLM does the queueing."""

    def __init__(self, url: str, base_model: str, timeout: float) -> None:
        self._url, self._base_model, self._timeout = url.rstrip("/"), base_model, timeout
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def draw(
        self, request: EngineRequest
    ) -> AsyncGenerator[AsyncIterator[Sequence[Draw]], None]:
        options = request.options
        wanted, tops = options.get("logprobs"), options.get("top_logprobs")
        scored = wanted is not False or tops is not None
        path, body = _drawing(request, scored=scored)
        # The whole rest of a rollout in one event: nobody reads along.
        body["stream_interval"] = 1_000_000
        if request.priority:
            body["priority"] = int(request.priority)
        read = read_event if wanted or tops or path == TEXT else read_lean
        async with self._request(path, body, request.seconds) as reply:
            assembly = RolloutAssembly(int(options.get("n", 1)), scored=scored, tops=bool(tops))
            yield _draws(reply, assembly, read)

    @asynccontextmanager
    async def write(
        self, request: EngineRequest
    ) -> AsyncGenerator[AsyncIterator[Sequence[Piece]], None]:
        path, body = _drawing(request, scored=True)
        async with self._request(path, body, request.seconds) as reply:
            yield _pieces(reply, RolloutAssembly(1, tops=bool(request.options.get("top_logprobs"))))

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        return await self._post(*_addressed(request), timeout=request.seconds)

    @asynccontextmanager
    async def stream(
        self, request: EngineRequest, names: Names
    ) -> AsyncGenerator[AsyncIterator[Sequence[Chunk]], None]:
        path, body = _addressed(request)
        async with self._request(path, {**body, "stream": True}, request.seconds) as reply:
            relabel = Relabel(names)
            yield ([relabel(event) for event in events] async for events in _events(reply))

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        body = {
            "model": model,
            "prompt": list(tokens),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        reply = await self._post(TEXT, body)
        try:
            rows = reply["choices"][0]["prompt_logprobs"][1:]
            scores = [
                row[str(token)]["logprob"] for row, token in zip(rows, tokens[1:], strict=True)
            ]
        except (KeyError, IndexError, TypeError, ValueError):
            raise EngineReplyInvalid("no prompt log-probabilities") from None
        return [float(score) for score in scores]

    async def models(self) -> list[str]:
        async with self._exchange("GET", "/v1/models", None, _PROBE_SECONDS) as reply:
            listed = await _json(reply)
        return [model["id"] for model in listed["data"]]

    async def load(self, name: str, path: str) -> None:
        try:
            await asyncio.to_thread(check_adapter, Path(path))
        except (AdapterUnfit, OSError) as error:
            raise EngineRefused(400, str(error)) from None
        body = {"lora_name": name, "lora_path": path}
        try:
            await self._post("/v1/load_lora_adapter", body, parse=False)
        except EngineRefused as error:
            if "already been loaded" not in str(error) and "already loaded" not in str(error):
                raise

    async def unload(self, name: str) -> None:
        try:
            await self._post("/v1/unload_lora_adapter", {"lora_name": name}, parse=False)
        except EngineRefused as error:
            if error.status != 404:
                raise

    async def probe(self) -> None:
        body = {"model": self._base_model, "prompt": [0], "max_tokens": 1, "temperature": 0}
        await self._post(TEXT, body, timeout=_PROBE_SECONDS)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        parse: bool = True,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        async with self._request(path, body, timeout) as reply:
            return await _json(reply) if parse else {}

    def _request(self, path: str, body: Mapping[str, Any], timeout: float | None = None) -> Any:
        return self._exchange("POST", path, body, timeout or self._timeout)

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """One HTTP exchange; everything that can go wrong in it becomes an EngineError here."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=_connector())
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=None if body is None else orjson.dumps(body),
                headers={"content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout, connect=5.0),
            ) as reply:
                if reply.status == 500:  # it is there, and failed at this request
                    raise EngineReplyInvalid(f"{path}: status 500")
                if reply.status > 500:
                    raise EngineUnavailable(f"{path}: status {reply.status}")
                if reply.status >= 400:
                    raise refusal(reply.status, await reply.read())
                yield reply
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise EngineTimeout(f"{path}: no reply within {timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"{path}: {type(error).__name__}") from None


def _addressed(request: EngineRequest) -> tuple[str, dict[str, Any]]:
    """Where a prompt of that kind goes, and the body with it."""
    path, name = (TEXT, "prompt") if isinstance(request.prompt, str) else (CHAT, "messages")
    return path, {"model": request.model, name: request.prompt, **request.options}


def _drawing(request: EngineRequest, *, scored: bool) -> tuple[str, dict[str, Any]]:
    """Where rollouts with token ids are asked for, and with what body."""
    path, body = _addressed(request)
    body |= {"stream": True, "return_token_ids": True}
    tops = body.pop("top_logprobs", None) or 0
    if path == TEXT:
        body["logprobs"] = tops if scored else None
    elif scored:
        body |= {"logprobs": True, "top_logprobs": tops}
    return path, body


def _connector() -> aiohttp.TCPConnector:
    """Drops idle connections before vLLM does, after 5 s: a request might be on its way by then."""
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0)


async def _json(reply: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        parsed = orjson.loads(await reply.read())
    except orjson.JSONDecodeError:
        raise EngineReplyInvalid("not JSON") from None
    if not isinstance(parsed, dict):
        raise EngineReplyInvalid("not a JSON object")
    return parsed  # pyright: ignore[reportUnknownVariableType]


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[Sequence[bytes]]:
    try:
        async for events in events_of(reply.content.iter_any()):
            yield events
    except EOFError:
        raise EngineUnavailable("the stream ended early") from None


async def _pieces(
    reply: aiohttp.ClientResponse, assembly: RolloutAssembly
) -> AsyncIterator[Sequence[Piece]]:
    async for events in _events(reply):
        yield [piece for event in events for piece in pieces_of(read_event(event), assembly)]


async def _draws(
    reply: aiohttp.ClientResponse,
    assembly: RolloutAssembly,
    read: Callable[[bytes], dict[str, Any]],
) -> AsyncIterator[Sequence[Draw]]:
    async for events in _events(reply):
        if draws := assembly.add(map(read, events)):
            yield draws
    assembly.check_whole()
