"""What a surface needs that writes replies of its own, out of a chat's."""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from server.api.errors import ApiError


class Writer(Protocol):
    """Writes the reply to one request, in its surface's form, out of a chat's reply."""

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The reply, of a whole completion."""
        ...

    def keep_alive(self, comment: bytes) -> bytes:
        """What tells the client that the reply is still to come, where a chat has a comment."""
        ...

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for one chunk."""
        ...

    def end(self) -> bytes:
        """The events at the end of a stream that has succeeded."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """The events at the end of one that has failed."""
        ...


def named_event(event: Mapping[str, Any]) -> bytes:
    """One server-sent event, named after its `type`."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def usage_details(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt that the engine's cache had, and tokens of reasoning."""
    prompt: Mapping[str, int] = usage.get("prompt_tokens_details") or {}
    generated: Mapping[str, int] = usage.get("completion_tokens_details") or {}
    return prompt.get("cached_tokens") or 0, generated.get("reasoning_tokens") or 0
