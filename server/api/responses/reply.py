"""The Response object and its output items, as the OpenAI API reference has them.

https://platform.openai.com/docs/api-reference/responses/object
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.api.surfaces.blocks import Block, Kind
from server.api.surfaces.writing import usage_details

ID_PREFIX = "resp_"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""A chat's finish reasons of rollouts that were cut short, and a Response's reasons."""


@dataclass(frozen=True, slots=True)
class Response:
    """A reply under its `id`. `echo` are the fields that repeat the request's."""

    id: str
    created: int
    echo: Mapping[str, Any]

    def shown(
        self, status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any
    ) -> dict[str, Any]:
        """The object at some `status`, with the items so far and what else is known."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            **self.echo,
            "output": output,
            "usage": None,
            **more,
        }

    def finished(
        self,
        finish_reason: str | None,
        blocks: Sequence[Block],
        usage: Mapping[str, Any] | None,
        extension: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """The whole object, of a rollout with these blocks that ended so."""
        cut = _INCOMPLETE.get(finish_reason or "")
        status = "incomplete" if cut else "completed"
        whole = [self.item(block, "completed") for block in blocks[:-1]]
        more: dict[str, Any] = {"completed_at": int(time.time())}
        if cut:
            more = {"incomplete_details": {"reason": cut}}
        if usage:
            more["usage"] = usage_of(usage)
        output = [*whole, *(self.item(block, status) for block in blocks[-1:])]
        return self.shown(status, output, **more, ratchet=extension)

    def item_id(self, block: Block) -> str:
        """The id of a block's item: the same, whole or streamed."""
        return f"{_PREFIXES[block.kind]}{self.id.removeprefix(ID_PREFIX)}{block.at:02x}"

    def item(self, block: Block, status: str) -> dict[str, Any]:
        """A block's item; one that is in progress has no text yet."""
        head = {"id": self.item_id(block), "type": _TYPES[block.kind], "status": status}
        begun = status == "in_progress"
        if block.kind is Kind.CALL:
            arguments = "" if begun else block.text
            return {**head, "call_id": block.id, "name": block.name, "arguments": arguments}
        content = [] if begun else [part_of(block)]
        if block.kind is Kind.REASONING:
            return {**head, "summary": [], "content": content}
        return {**head, "role": "assistant", "content": content}


_TYPES = {Kind.REASONING: "reasoning", Kind.TEXT: "message", Kind.CALL: "function_call"}
_PREFIXES = {Kind.REASONING: "rs_", Kind.TEXT: "msg_", Kind.CALL: "fc_"}


def part_of(block: Block, *, empty: bool = False) -> dict[str, Any]:
    """The content part of a text or of reasoning."""
    text = "" if empty else block.text
    if block.kind is Kind.REASONING:
        return {"type": "reasoning_text", "text": text}
    logprobs = [] if empty else logprobs_of(block.logprobs)
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def logprobs_of(tokens: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A chat's log-probabilities, with the bytes of every token, which a Response must have."""
    return [
        {**_with_bytes(token), "top_logprobs": [_with_bytes(top) for top in token["top_logprobs"]]}
        for token in tokens
    ]


def _with_bytes(token: Mapping[str, Any]) -> dict[str, Any]:
    written = token.get("bytes")
    spelt = list(token["token"].encode()) if written is None else written
    return {"token": token["token"], "bytes": spelt, "logprob": token["logprob"]}


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's usage by a Response's names."""
    cached, reasoning = usage_details(usage)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": usage["total_tokens"],
    }
