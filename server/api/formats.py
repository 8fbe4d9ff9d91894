"""The choices of a reply as in the OpenAI API reference, with vLLM's `stop_reason`."""

from collections.abc import Mapping
from typing import Any, Protocol

from server.api.requests import ChatRequest, SamplingRequest, TextRequest
from server.engine.base import Draw

_NOTHING = {"index": 0, "logprobs": None, "finish_reason": None}


class Format(Protocol):
    """How one kind of request is replied to."""

    id_prefix: str
    object: str
    chunk_object: str
    blank: Mapping[str, Any]
    """The choice of a chunk that says nothing."""

    def choice(self, index: int, draw: Draw, alternatives: int | None) -> dict[str, Any]:
        """The choice of a whole reply. `alternatives` as in `SamplingRequest.wanted_logprobs`."""
        ...

    def pieces(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The same choice as it is streamed."""
        ...


class ChatFormat:
    """`chat.completion`."""

    id_prefix = "chatcmpl-"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"
    blank: Mapping[str, Any] = {**_NOTHING, "delta": {}}

    def choice(self, index: int, draw: Draw, alternatives: int | None) -> dict[str, Any]:
        logprobs = None
        if alternatives is not None:
            logprobs = dict(draw.choice["logprobs"])
            content = logprobs["content"]
            # The engine may return more of them than the client asked for.
            if any(len(token["top_logprobs"]) > alternatives for token in content):
                logprobs["content"] = [
                    {**token, "top_logprobs": token["top_logprobs"][:alternatives]}
                    for token in content
                ]
        return _choice(index, draw, "message", logprobs)

    def pieces(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        rest = {name: value for name, value in choice["message"].items() if name != "role"}
        if calls := rest.get("tool_calls"):
            rest["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
        empty = {"index": choice["index"], "logprobs": None, "finish_reason": None}
        return [
            {**empty, "delta": {"role": "assistant", "content": ""}},
            {**empty, "delta": rest, "logprobs": choice["logprobs"]},
            {**empty, "delta": {}, "finish_reason": choice["finish_reason"]},
        ]


class TextFormat:
    """`text_completion`."""

    id_prefix = "cmpl-"
    object = chunk_object = "text_completion"
    blank: Mapping[str, Any] = {**_NOTHING, "text": ""}

    def choice(self, index: int, draw: Draw, alternatives: int | None) -> dict[str, Any]:
        logprobs = None if alternatives is None else dict(draw.choice["logprobs"])
        return _choice(index, draw, "text", logprobs)

    def pieces(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        last = {**choice, "text": "", "logprobs": None}
        return [{**choice, "finish_reason": None, "stop_reason": None}, last]


FORMATS: dict[type[SamplingRequest], Format] = {
    ChatRequest: ChatFormat(),
    TextRequest: TextFormat(),
}


def _choice(
    index: int, draw: Draw, written: str, logprobs: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "index": index,
        written: draw.choice[written],
        "logprobs": logprobs,
        "finish_reason": draw.choice["finish_reason"],
        "stop_reason": draw.choice.get("stop_reason"),
    }


def format_of(request: SamplingRequest) -> Format:
    """How replies to this request look."""
    return FORMATS[type(request)]
