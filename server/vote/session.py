"""A question that is being answered by a vote."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.answer_choice import AnswerChoice
from rewards.reflection import Representative
from server.api.replies import Outcome, Reply, Served
from server.charge import Cost, broken_off
from server.engine.base import Draw, EngineRequest, Prompt
from server.policy.governor import Plan
from server.policy.leases import Lease
from server.policy.reasons import Unrecorded
from server.vote.admission import Ticket
from server.vote.tally import RunningTally

log = logging.getLogger("ratchet.voted")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: `client` for influence limits, `train` False to record nothing."""

    client: str = "anonymous"
    train: bool = True

    @property
    def holder(self) -> str:
        """Whose key it is: who shares in fair turns, with all its users. Without keys, a user."""
        return self.client.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a request holds until it is done: a version and room; and its prompt."""

    lease: Lease
    ticket: Ticket
    prompt: Prompt


@dataclass(slots=True, kw_only=True)
class VoteSession:
    """One question under way. `outcome` is set when the vote is over, `first` is the rollout that
    is streamed, if one is, and `reason` says why the rollouts are not recorded."""

    reply: Reply
    caller: Caller
    lease: Lease
    prompt: Prompt
    answer: AnswerChoice
    """How the answers of its rollouts are read."""
    cost: Cost
    """What it takes by estimate."""
    tally: RunningTally
    options: dict[str, Any]
    deadline: float
    """Seconds after which the answer is of no use."""
    engine_seconds: float
    """Seconds that the engine has for its rollouts, top-ups included."""
    reason: Unrecorded | None
    plan: Plan
    """How its rollouts are drawn."""
    slices: Sequence[str] = ()
    """Where the governor remembers what it needed."""
    outcome: asyncio.Future[Outcome] = field(default_factory=asyncio.Future[Outcome])
    served: Served | None = None
    """What the reply is, once the vote is over."""
    first: asyncio.Future[Draw] | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever rollouts have come in."""
    task: asyncio.Task[None] | None = None
    drawn: int = 0
    """Rollouts that have come in, not counting the streamed one."""
    written: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the streamed rollout is in."""
    asked: int = 0
    """Rollouts that the engine was asked for, those drawn among them, not counting the streamed
    one."""
    chosen_at: int = 0
    """Rollouts that were in when it was chosen for learning: the learner gets those after them,
    which nothing was decided by."""
    partial: bool = False
    """Some rollouts were lost, or not in by the deadline."""
    waited: float = 0.0
    """Seconds spent waiting for the engine with nothing else to do."""
    reflection: Draw | None = None
    """What the model said when it was asked to choose among its answers."""
    chosen: Representative | None = None
    """What it chose."""

    def tokens(self, error: BaseException | None = None) -> int:
        """Tokens that are charged for it when its reply ends, by that error if one is given: its
        usage; if it is broken off, those that came, and for each rollout under way as many as it
        may have by estimate."""
        outcome, draws = self.outcome, self.tally.draws
        if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
            return outcome.result().usage()["total_tokens"]
        came = sum(draw.tokens for draw in draws)
        if not broken_off(error):
            return came + (len(draws[0].prompt_ids) if draws else 0)
        asked = (self.asked or self.plan.first) + (self.first is not None)
        return self.cost.prompt + came + self.cost.each * max(0, asked - len(draws))

    @property
    def governed(self) -> bool:
        """Whether it began with fewer rollouts than it may have."""
        return self.plan.first < self.tally.size

    @property
    def observed(self) -> int:
        """Rollouts of its first wave, which nothing had been decided by; all of them in a vote that
        nothing but certainty ends."""
        return self.plan.first if self.plan.confidence < 1.0 else len(self.tally.draws)

    @property
    def reflects(self) -> bool:
        """Whether the model is to choose among its answers."""
        return self.reply.request.ratchet.strategy == "reflect"

    def engine_request(
        self, options: Mapping[str, Any], seconds: float | None = None
    ) -> EngineRequest:
        """A request to the engine for rollouts of this question."""
        seconds = seconds or max(self.deadline, self.engine_seconds)
        return EngineRequest(self.lease.engine_name, self.prompt, options, seconds=seconds)

    def report(self, task: asyncio.Task[None]) -> None:
        """Report the failure of a finished task to the waiter, or log it if the outcome is out."""
        error = None if task.cancelled() else task.exception()
        if not self.outcome.done():
            self.outcome.cancel() if error is None else self.outcome.set_exception(error)
        elif error is not None:
            log.error("an answered question was not finished", exc_info=error)

    def abandon(self) -> None:
        """Cancel the session if its answer is still awaited: the client has gone."""
        if self.task is not None and not self.outcome.done():
            self.task.cancel()
