"""Replaces vLLM's id and model name by ours in the events of a stream."""

from typing import Any

import orjson

from server.engine.base import Chunk, Names
from server.engine.vllm_replies import check_not_broken_off, read_event

_ENDS = b'"finish_reason":"'


class Relabel:
    """Renames the chunks of one stream.

    Only the first is parsed; it shows vLLM's names, which stand at the start of every chunk, before
    anything that a model has written. No text in JSON has an unescaped quote.
    """

    def __init__(self, names: Names) -> None:
        self._ours = {"id": names.id, "model": names.model}
        self._found: list[tuple[bytes, bytes]] = []

    def __call__(self, event: bytes) -> Chunk:
        """The event with our names. Raises EngineFailed if it is an error, EngineUnavailable if it
        is broken off."""
        check_not_broken_off(event)
        if not self._found:
            chunk = read_event(event)
            self._found = [
                (_member(key, chunk.get(key)), _member(key, ours))
                for key, ours in self._ours.items()
            ]
        for theirs, ours in self._found:
            at = event.find(theirs, 0, 300)
            if at < 0:
                return _parsed(event, self._ours)
            event = event[:at] + ours + event[at + len(theirs) :]
        return Chunk(event, _ENDS in event)


def _parsed(event: bytes, names: dict[str, str]) -> Chunk:
    chunk: dict[str, Any] = {**read_event(event), **names}
    ends = any(choice.get("finish_reason") for choice in chunk["choices"])
    return Chunk(orjson.dumps(chunk), ends)


def _member(key: str, value: object) -> bytes:
    return orjson.dumps({key: value})[1:-1]
