"""One request with several prompts: a vote for each, and one reply for all.

Choice `k` of prompt `i` has the index `i * n + k`, as OpenAI and vLLM number them. One version
answers all of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from server.api.replies import DONE, Outcome, Reply, sse
from server.vote.session import VoteSession

_UNVOTED = ("kind", "answer", "agreement", "distribution", "reason")


class SeveralVotes:
    """The votes of one request under way, and its reply."""

    def __init__(self, reply: Reply, sessions: Sequence[VoteSession]) -> None:
        self.reply, self._sessions = reply, sessions
        for session in sessions:  # where one fails, nobody looks at the others
            session.outcome.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    @property
    def waited(self) -> float:
        """Seconds that all of them have waited for the engine."""
        return max(session.waited for session in self._sessions)

    async def completion(self) -> dict[str, Any]:
        """The completion object. Raises EngineError."""
        waited = [session.outcome for session in self._sessions]
        done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_EXCEPTION)
        for ended in done:
            ended.result()
        outcomes = [outcome.result() for outcome in waited]
        choices = [
            self._numbered(choice, at)
            for at, (session, outcome) in enumerate(zip(self._sessions, outcomes, strict=True))
            for choice in session.reply.completion(outcome)["choices"]
        ]
        return {
            **self.reply.completion_object(choices),
            "usage": usage_of(outcomes),
            "ratchet": self._extension(outcomes),
        }

    async def chunks(self, pause: float) -> AsyncGenerator[Sequence[bytes] | None]:
        """The events of each vote as it ends; None whenever `pause` seconds pass without one. The
        last chunk of each has the vote over that prompt. Raises EngineError."""
        at_of = {session.outcome: at for at, session in enumerate(self._sessions)}
        waiting = set(at_of)
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield None
            for ended in sorted(done, key=lambda outcome: at_of[outcome]):
                yield [*map(sse, self._pieces(at_of[ended], ended.result()))]
        outcomes = [session.outcome.result() for session in self._sessions]
        usage = {**self.reply.chunk([]), "usage": usage_of(outcomes)}
        yield [*([sse(usage)] if self.reply.request.includes_usage else []), DONE]

    def _pieces(self, at: int, outcome: Outcome) -> Sequence[dict[str, Any]]:
        session = self._sessions[at]
        chunks: list[dict[str, Any]] = session.reply.chunks(outcome)
        chunks[-1]["ratchet"] = {**chunks[-1]["ratchet"], "completion_id": session.reply.id}
        return [
            {**chunk, "id": self.reply.id,
             "choices": [self._numbered(choice, at) for choice in chunk["choices"]]}
            for chunk in chunks
        ]  # fmt: skip

    def _numbered(self, choice: Mapping[str, Any], at: int) -> dict[str, Any]:
        return {**choice, "index": at * self.reply.request.n + int(choice["index"])}

    def _extension(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The reply's `ratchet` object: totals, and each prompt's own under `votes`, with the id
        that feedback on it names."""
        votes: list[dict[str, Any]] = [
            {**outcome.extension(), "completion_id": session.reply.id}
            for session, outcome in zip(self._sessions, outcomes, strict=True)
        ]
        return {
            **outcomes[0].extension(),
            **dict.fromkeys(_UNVOTED),
            **{name: sum(vote[name] for vote in votes) for name in ("rollouts", "valid")},
            "recorded": any(vote["recorded"] for vote in votes),
            "votes": votes,
        }


def usage_of(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """The sum of their usage."""
    each = [outcome.usage() for outcome in outcomes]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: sum(usage[name] for usage in each) for name in names}
