"""The last voted queries, as the live page shows them: how the rollouts split, not what they say.

Texts are kept only if the operator allows it, and never those of a request that opted out.
"""

import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from adapter.store.clients import pseudonyms
from rewards.votes import Vote
from server.engine.base import Prompt, is_chat
from server.policy.reasons import Unrecorded
from server.vote.session import VoteSession

_KEPT = 24
_BARS = 5
_QUESTION_CHARS, _ANSWER_CHARS = 240, 48


@dataclass(slots=True)
class _RecentVote:
    """A vote as the page gets it; question and answers, if they may be shown, and whose they are,
    by the pseudonyms of client and holder."""

    figures: dict[str, Any]
    texts: dict[str, Any]
    clients: Collection[str]


class RecentVotes:
    """In the memory of one server process."""

    def __init__(self, texts: bool) -> None:
        self._texts = texts
        self._votes: deque[_RecentVote] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, session: VoteSession, vote: Vote) -> None:
        """Add the vote of a session whose rollouts are all in."""
        self._count += 1
        ranked = sorted(vote.counts.items(), key=itemgetter(1), reverse=True)[:_BARS]
        figures = {
            "id": self._count,
            "at": time.time(),
            "version": session.lease.version,
            "rollouts": vote.total,
            "counts": [count for _, count in ranked],
            "unanswered": vote.total - vote.valid,
            "kind": session.served and session.served.kind,
            "recorded": session.reason is None,
            "reason": (session.served and session.served.reason) or session.reason,
        }
        recent = _RecentVote(figures, {}, ())
        if self._texts and session.reason is not Unrecorded.OPTED_OUT:
            question = _last_text(session.prompt)[:_QUESTION_CHARS]
            answers = [answer[:_ANSWER_CHARS] for answer, _ in ranked]
            recent.texts = {"question": question, "answers": answers}
            recent.clients = pseudonyms(session.caller.client)
        self._votes.append(recent)

    def after(self, last: int, texts: bool) -> list[dict[str, Any]]:
        """The votes with a higher id than `last`, oldest first; with `texts` if they may be."""
        found = [vote for vote in self._votes if vote.figures["id"] > last]
        return [{**vote.figures, **(vote.texts if texts else {})} for vote in found]

    def forget(self, clients: Collection[str]) -> int:
        """Remove the texts of these clients, named by their pseudonyms. Returns of how many."""
        gone = [v for v in self._votes if v.texts and any(one in clients for one in v.clients)]
        for vote in gone:
            vote.texts = {}
        return len(gone)


def _last_text(prompt: Prompt) -> str:
    """The raw prompt, or the text of the last message."""
    if not is_chat(prompt):
        return prompt if isinstance(prompt, str) else f"{len(prompt)} tokens"
    content: Any = prompt[-1].get("content") or ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)
