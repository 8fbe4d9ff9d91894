"""Streaming the first rollout of a vote while the others are drawn: `"stream": "first"`."""

from collections.abc import Sequence
from typing import Any

from server.api.replies import DONE, Outcome, chunk_head, sse
from server.engine.base import EngineUnavailable, Piece
from server.vote.session import VoteSession


class FirstRollout:
    """One rollout of a vote: to the client as it comes, and to the tally when it is whole."""

    def __init__(self, session: VoteSession) -> None:
        assert session.first is not None
        self._first, self._request = session.first, session.request
        self._head = chunk_head(session.reply_id, session.request)
        self._last: dict[str, Any] = {}

    def chunks(self, pieces: Sequence[Piece]) -> bytes:
        """The events to send at once: all but the last, which waits for the vote."""
        sent: list[bytes] = []
        for piece in pieces:
            choice = dict(piece.choice)
            if self._request.wanted_logprobs is None:
                choice["logprobs"] = None
            chunk = self._head | {"choices": [choice]}
            if piece.draw is None:
                sent.append(sse(chunk))
                continue
            self._last = chunk
            if not self._first.done():
                self._first.set_result(piece.draw)
        return b"".join(sent)

    def ending(self, outcome: Outcome) -> list[bytes]:
        """The last chunk with the vote, the usage where it was asked for, and the end."""
        chunks = [{**self._last, "ratchet": outcome.extension()}]
        if self._request.includes_usage:
            chunks.append({**self._last, "choices": [], "usage": outcome.usage()})
        return [*map(sse, chunks), DONE]

    def give_up(self) -> None:
        """Fail the rollout, unless it is whole."""
        if not self._first.done():
            self._first.set_exception(EngineUnavailable("the first rollout was broken off"))
