"""Streaming the first rollout of a vote while the others are drawn: `"stream": "first"`."""

from collections.abc import Sequence
from typing import Any

from server.api.replies import Outcome, sse
from server.engine.base import EngineUnavailable, Piece
from server.vote.session import VoteSession


class FirstRollout:
    """One rollout of a vote: to the client as it comes, and to the tally when it is whole."""

    def __init__(self, session: VoteSession) -> None:
        assert session.first is not None
        self._first, self._reply = session.first, session.reply
        self._last: dict[str, Any] = {}

    def chunks(self, pieces: Sequence[Piece]) -> bytes:
        """The events to send at once: all but the last, which waits for the vote."""
        sent: list[bytes] = []
        for piece in pieces:
            choice = dict(piece.choice)
            if self._reply.request.wanted_logprobs is None:
                choice["logprobs"] = None
            chunk = self._reply.chunk([choice])
            if piece.draw is None:
                sent.append(sse(chunk))
                continue
            self._last = chunk
            if not self._first.done():
                self._first.set_result(piece.draw)
        return b"".join(sent)

    def ending(self, outcome: Outcome) -> list[bytes]:
        """The last chunk with the vote, and what follows it."""
        return self._reply.ending([self._last], outcome)

    def give_up(self) -> None:
        """Fail the rollout, unless it is whole."""
        if not self._first.done():
            self._first.set_exception(EngineUnavailable("the first rollout was broken off"))
