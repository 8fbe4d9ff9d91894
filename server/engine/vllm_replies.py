"""Reads vLLM's replies (vLLM 0.32): rollouts out of streamed chunks, errors out of refusals."""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from rewards.rollouts import Rollout
from server.engine.base import (
    Draw,
    EngineFailed,
    EngineRefused,
    EngineReplyInvalid,
    EngineUnavailable,
    Piece,
)
from server.engine.deltas import calls_in, message_of
from server.engine.late_logprobs import LateLogprobs, tops_of, values_of

# In vLLM's chat chunks the logprobs stand between the written text and the finish reason.
_LOGPROBS, _AFTER = b'"logprobs":{"content":[', b']},"finish_reason":'
_BROKEN_OFF = b'"finish_reason":"abort"'
_LOGPROB = re.compile(rb'"logprob":(-?[\d.eE+-]+)')
NO_ROUTE = "no_route"
"""Code of a refusal of an engine that has no such route, and not of something it does not know."""
_OURS = frozenset({"token_ids", "prompt_token_ids"})
"""Fields of a choice that no client gets."""


class RolloutAssembly:
    """Assembles the chunks of one streamed request for `expected` rollouts, which have
    log-probabilities if they are `scored`, and those of the likeliest tokens with `tops`."""

    def __init__(self, expected: int, *, scored: bool = True, tops: bool = False) -> None:
        self._expected, self._finished = expected, 0
        self._scored, self._tops = scored, tops
        self._prompt_ids: Sequence[int] = ()
        self._parts: dict[int, list[Mapping[str, Any]]] = {}

    def add(self, chunks: Iterable[Mapping[str, Any]]) -> list[Draw]:
        """The rollouts that these chunks finish. Raises EngineReplyInvalid if they are malformed,
        lengths differ or numbers are not finite."""
        finished: list[Draw] = []
        try:
            for chunk in chunks:
                if ids := chunk.get("prompt_token_ids"):
                    self._prompt_ids = ids
                for choice in chunk["choices"]:
                    index: int = choice["index"]
                    self._parts.setdefault(index, []).append(_packed(choice, self._tops))
                    if choice.get("finish_reason") is not None:
                        finished.append(self._finish(index))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise EngineReplyInvalid(f"malformed reply: {type(error).__name__}") from None
        return sorted(finished, key=lambda draw: draw.index)

    def check_whole(self) -> None:
        """Raise EngineReplyInvalid if rollouts are missing."""
        if self._finished != self._expected:
            raise EngineReplyInvalid(f"{self._finished} rollouts of {self._expected}")

    def _finish(self, index: int) -> Draw:
        parts = self._parts.pop(index)
        prompt_ids = self._prompt_ids or parts[0].get("prompt_token_ids") or ()
        if not prompt_ids or not 0 <= index < self._expected:
            raise ValueError("no prompt, or a rollout too many")
        # Arrays, as on the wire: rollouts may wait in memory, and lists take eight times as much.
        token_ids = array("i", chain.from_iterable(part.get("token_ids") or () for part in parts))
        logprobs, tops = _numbers(parts) if self._scored else (array("f"), [])
        matched = len(logprobs) == len(token_ids) or not self._scored
        if not matched or not all(map(math.isfinite, logprobs)):
            raise ValueError("token ids and log-probabilities do not match")
        if "delta" in parts[0]:
            message = message_of(part["delta"] for part in parts)
            calls = calls_in(message)
            text, written = message["content"] or "", {"message": message}
        else:
            text, calls = "".join(part["text"] for part in parts), ()
            written = {"text": text}
        self._finished += 1
        reason = str(parts[-1]["finish_reason"])
        choice = {
            "index": index,
            **written,
            "logprobs": LateLogprobs([part["late"] for part in parts if "late" in part]),
            "finish_reason": reason,
            "stop_reason": parts[-1].get("stop_reason"),
        }
        rollout = Rollout(text, token_ids, logprobs, reason, calls=calls)
        return Draw(index, prompt_ids, choice, rollout, tops)


def pieces_of(chunk: Mapping[str, Any], assembly: RolloutAssembly) -> list[Piece]:
    """The choices of one chunk, without our own fields; the last one of a rollout with the whole.
    Raises as `RolloutAssembly.add`."""
    draws = assembly.add([chunk])
    shown = [
        {key: value for key, value in choice.items() if key not in _OURS}
        for choice in chunk["choices"]
    ]
    return [Piece(choice, draws[0] if draws else None) for choice in shown]


def read_lean(event: bytes) -> dict[str, Any]:
    """One chunk of a single choice, with only the numbers of its logprobs, as `logprob_values`.

    Logprobs are nine tenths of a long rollout's JSON, and a few objects for every token. No text in
    JSON has an unescaped quote, so the searched bytes occur only where vLLM writes the fields.
    Raises as `read_event`.
    """
    start, end = event.find(_LOGPROBS), event.rfind(_AFTER)
    if not 0 <= start < end:
        return read_event(event)
    chunk = read_event(event[:start] + b'"logprobs":null' + event[end + 2 :])
    numbers = _LOGPROB.findall(event, start, end)
    chunk["choices"][0]["logprob_values"] = array("f", orjson.loads(b"[%s]" % b",".join(numbers)))
    return chunk


def check_not_broken_off(reply: bytes) -> None:
    """Raise EngineUnavailable for a reply, or a part of it, that vLLM gives while it ends: with
    status 200, and "abort" for a finish reason. No text in JSON has an unescaped quote."""
    if _BROKEN_OFF in reply:
        raise EngineUnavailable("the engine is ending")


def read_event(event: bytes) -> dict[str, Any]:
    """One chunk. Raises EngineReplyInvalid; EngineRefused or EngineFailed for an error, and
    EngineUnavailable for what was broken off."""
    check_not_broken_off(event)
    chunk = read_object(event)
    if "error" in chunk:
        error = chunk["error"]
        code: Any = error.get("code") if isinstance(error, dict) else None  # pyright: ignore
        if isinstance(code, int) and 400 <= code < 500:
            raise refusal(code, event)
        raise EngineFailed("the engine failed in the middle of this request")
    return chunk


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises EngineReplyInvalid if it is none."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise EngineReplyInvalid("not JSON") from None
    if not isinstance(parsed, dict):
        raise EngineReplyInvalid("not a JSON object")
    return parsed  # pyright: ignore[reportUnknownVariableType]


def _packed(choice: Mapping[str, Any], tops: bool) -> Mapping[str, Any]:
    """A choice of a chunk without objects for every token: numbers, and JSON in their place."""
    logprobs = choice.get("logprobs")
    if not logprobs:
        return choice
    return {
        **choice,
        "logprobs": None,
        "logprob_values": values_of(logprobs),
        "top_values": tops_of(logprobs) if tops else (),
        "late": orjson.dumps(logprobs),
    }


def _numbers(
    parts: Sequence[Mapping[str, Any]],
) -> "tuple[array[float], list[Sequence[float]]]":
    """The log-probabilities of a choice's tokens, and of the likeliest ones at each."""
    values, tops = array("f"), list[Sequence[float]]()
    for part in parts:
        values += part.get("logprob_values", array("f"))
        tops += part.get("top_values", ())
    return values, tops


def refusal(status: int, body: bytes) -> EngineRefused:
    """The exception for a client error of the engine."""
    try:
        error = orjson.loads(body)["error"]
        message, param, code = error["message"], error.get("param"), error.get("code")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, param, code = f"the engine refused the request with status {status}", None, None
    if status == 404 and (message == "Not Found" or "status 404" in message):
        code = NO_ROUTE
    if status == 400 and "context length" in message:
        param, code = "messages", "context_length_exceeded"
    if status == 400 and "--tool-call-parser" in message:
        message = "the engine does not read tool calls: set tool_call_parser, and start it again"
        param = "tools"
    return EngineRefused(status, message, param, None if code is None else str(code))
