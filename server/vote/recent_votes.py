"""The last voted queries, as the live page shows them: how the rollouts split, not what they say.

Texts are kept only where the operator allows it, and never of a request that is to leave no trace.
"""

import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from adapter.store.clients import pseudonym
from rewards.votes import Vote
from server.engine.base import Prompt
from server.policy.reasons import Unrecorded
from server.vote.session import VoteSession

_KEPT = 24
_BARS = 5
_QUESTION_CHARS, _ANSWER_CHARS = 240, 48


@dataclass(slots=True)
class Shown:
    """A vote's figures, and its question and answers with whose they are, if they may be shown."""

    number: int
    at: float
    version: int
    counts: tuple[int, ...]
    total: int
    valid: int
    reason: Unrecorded | None
    texts: dict[str, Any]
    client: str

    def figures(self) -> dict[str, Any]:
        """What the page is sent; put together when it asks, which is seldom."""
        return {
            "id": self.number,
            "at": self.at,
            "version": self.version,
            "rollouts": self.total,
            "counts": sorted(self.counts, reverse=True)[:_BARS],
            "unanswered": self.total - self.valid,
            "reason": self.reason,
        }


class RecentVotes:
    """In the memory of one server process."""

    def __init__(self, texts: bool) -> None:
        self._texts = texts
        self._votes: deque[Shown] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, session: VoteSession, vote: Vote) -> None:
        """A query has been voted on, and all that was to be drawn is in."""
        self._count += 1
        texts, client = dict[str, Any](), ""
        if self._texts and session.reason is not Unrecorded.OPTED_OUT:
            ranked = sorted(vote.counts, key=vote.counts.__getitem__, reverse=True)[:_BARS]
            client = pseudonym(session.caller.client)
            texts = {
                "question": _last_words(session.prompt)[:_QUESTION_CHARS],
                "answers": [answer[:_ANSWER_CHARS] for answer in ranked],
            }
        counts = tuple(vote.counts.values())
        self._votes.append(
            Shown(
                self._count, time.time(), session.lease.version, counts, vote.total, vote.valid,
                session.reason, texts, client,
            )
        )  # fmt: skip

    def after(self, last: int, texts: bool) -> list[dict[str, Any]]:
        """Those with a higher id than `last`, the oldest first; without texts if so wanted."""
        found = [vote for vote in self._votes if vote.number > last]
        return [{**vote.figures(), **(vote.texts if texts else {})} for vote in found]

    def forget(self, clients: Collection[str]) -> None:
        """Keep no texts of these, named by their pseudonyms."""
        for vote in self._votes:
            if vote.client in clients:
                vote.texts = {}


def _last_words(prompt: Prompt) -> str:
    """What was asked last."""
    if isinstance(prompt, str):
        return prompt
    content: Any = prompt[-1].get("content") or "" if prompt else ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)
