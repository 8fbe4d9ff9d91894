"""vLLM's OpenAI-compatible server as the engine, over HTTP (vLLM 0.32)."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from rewards.rollouts import Rollout
from server.adapter_check import AdapterUnfit, check_adapter
from server.engine import (
    EngineRefused,
    EngineReplyInvalid,
    EngineTimeout,
    EngineUnavailable,
    Sample,
)

_PROBE_SECONDS = 10.0


class VllmEngine:
    """One vLLM server. One session, no connection limit: vLLM does the queueing."""

    def __init__(self, url: str, base_model: str, timeout: float) -> None:
        self._url, self._base_model, self._timeout = url.rstrip("/"), base_model, timeout
        self._session: aiohttp.ClientSession | None = None

    async def sample(
        self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> Sample:
        body = {"logprobs": True, "top_logprobs": 0, "return_token_ids": True}
        body |= {"model": model, "messages": messages, **options}
        reply = await self._post("/v1/chat/completions", body)
        return parse_sample(reply, expected=int(options.get("n", 1)))

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._post("/v1/chat/completions", body)

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any]
    ) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
        async with self._request("/v1/chat/completions", body) as reply:
            yield _events(reply)

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        body = {
            "model": model,
            "prompt": list(tokens),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        reply = await self._post("/v1/completions", body)
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
        await self._post("/v1/completions", body, timeout=_PROBE_SECONDS)

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
                if reply.status >= 500:
                    raise EngineUnavailable(f"{path}: status {reply.status}")
                if reply.status >= 400:
                    raise _refusal(reply.status, await reply.read())
                yield reply
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise EngineTimeout(f"{path}: no reply within {timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"{path}: {type(error).__name__}") from None


def parse_sample(reply: Mapping[str, Any], expected: int) -> Sample:
    """A chat completion with token ids and log-probabilities as a Sample.

    Raises EngineReplyInvalid if rollouts are missing, lengths differ or numbers are not finite.
    """
    try:
        choices = sorted(reply["choices"], key=lambda choice: choice["index"])
        rollouts = [_rollout(choice) for choice in choices]
        prompt_ids: list[int] = reply["prompt_token_ids"]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineReplyInvalid(f"malformed reply: {type(error).__name__}") from None
    if len(rollouts) != expected or not prompt_ids:
        raise EngineReplyInvalid(f"{len(rollouts)} rollouts of {expected}")
    return Sample(prompt_ids, choices, rollouts)


def _rollout(choice: Mapping[str, Any]) -> Rollout:
    token_ids: list[int] = choice["token_ids"]
    logprobs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
    if len(token_ids) != len(logprobs) or not all(map(math.isfinite, logprobs)):
        raise ValueError("token ids and log-probabilities do not match")
    text = choice["message"]["content"] or ""
    return Rollout(text, token_ids, logprobs, str(choice["finish_reason"]))


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


async def _events(reply: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in reply.content:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise EngineReplyInvalid("not JSON") from None
        if "error" in event:
            raise EngineUnavailable("the engine broke off")
        yield event
    raise EngineUnavailable("the stream ended early")


def _refusal(status: int, body: bytes) -> EngineRefused:
    try:
        error = orjson.loads(body)["error"]
        message, param, code = error["message"], error.get("param"), error.get("code")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, param, code = f"the engine refused the request with status {status}", None, None
    if status == 400 and "context length" in message:
        param, code = "messages", "context_length_exceeded"
    return EngineRefused(status, message, param, None if code is None else str(code))
