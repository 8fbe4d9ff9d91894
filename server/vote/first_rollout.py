"""Streaming the first rollout of a vote while the others are drawn: `"stream": "first"`."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.api.replies import DONE, Outcome, sse
from server.engine.base import EngineUnavailable
from server.engine.vllm_replies import RolloutAssembly, read_event
from server.vote.session import VoteSession

_FOR_US = ("prompt_token_ids", "token_ids")


class FirstRollout:
    """One rollout of a vote: to the client as it comes, and to the tally when it is whole."""

    def __init__(self, session: VoteSession) -> None:
        assert session.first is not None
        self._first, self._request = session.first, session.request
        self.body: dict[str, Any] = {
            "top_logprobs": 0,
            **session.options,
            "model": session.lease.engine_name,
            "stream": True,
            "logprobs": True,
            "return_token_ids": True,
        }
        """What to ask the engine for."""
        if isinstance(session.prompt, str):
            self.body["logprobs"] = self.body.pop("top_logprobs")
        self._assembly = RolloutAssembly(1)
        self._names = {"id": session.reply_id, "model": session.request.model}
        self._last: dict[str, Any] = {}

    def chunks(self, events: Sequence[bytes]) -> bytes:
        """What of the engine's events is sent on at once: all but the last chunk."""
        sent: list[bytes] = []
        for event in events:
            chunk = read_event(event)
            draws = self._assembly.add([chunk])
            if draws and not self._first.done():
                self._first.set_result(draws[0])
            shown = self._shown(chunk)
            if draws:
                self._last = shown
            else:
                sent.append(sse(shown))
        return b"".join(sent)

    def ending(self, outcome: Outcome) -> list[bytes]:
        """The last chunk with the vote, the usage where it was asked for, and the end."""
        chunks = [{**self._last, "ratchet": outcome.extension()}]
        if self._request.includes_usage:
            chunks.append({**self._last, "choices": [], "usage": outcome.usage()})
        return [*map(sse, chunks), DONE]

    def give_up(self) -> None:
        """There will not be more of it: without effect if it is whole."""
        if not self._first.done():
            self._first.set_exception(EngineUnavailable("the first rollout was broken off"))

    def _shown(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """A chunk as the client is to see it."""
        shown = {key: value for key, value in chunk.items() if key not in _FOR_US} | self._names
        shown["choices"] = [
            {key: value for key, value in choice.items() if key not in _FOR_US}
            | ({} if self._request.wanted_logprobs is not None else {"logprobs": None})
            for choice in chunk["choices"]
        ]
        return shown
