"""What a reply looks like: completion object, stream chunks, and the `ratchet` extension."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from rewards.answers.tally import Tally
from rewards.votes import Vote
from server.api.formats import format_of
from server.api.functions import in_older_form
from server.api.requests import SamplingRequest
from server.engine.base import Draw
from server.policy.leases import Lease
from server.policy.reasons import Unrecorded

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served of a vote: the rollout in a `row` of the draws, and its `answer` if enough of
    them agree on it, with the name of that answer's `kind`; else the `reason` why there is none.

    `distribution`: each answer's share of the rollouts; of answers with fields, by field, the share
    that has the leading value.
    """

    row: int
    answer: str | None
    kind: str
    distribution: Mapping[str, float]
    reason: Unrecorded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A voted answer: what was drawn by then, the vote over it, and what is served of it. `reason`
    says why the learner does not get the group; None if it does. `reflection` is the model's, if
    it was asked to choose, and `chosen` whether it did."""

    draws: Sequence[Draw]
    tally: Tally
    vote: Vote
    served: Served
    lease: Lease
    reason: Unrecorded | None
    reflection: Draw | None = None
    chosen: bool = False

    @property
    def ranked(self) -> list[Draw]:
        """The draws by the votes for their answers, the one that is served first."""
        tally, first = self.tally, self.served.row
        sizes = [len(rows) for rows in tally.members]
        votes = [0 if cluster is None else sizes[cluster] for cluster in tally.clusters]
        rows = sorted(range(len(tally)), key=lambda i: (i != first, -votes[i], i))
        return [self.draws[row] for row in rows]

    def extension(self) -> dict[str, Any]:
        """The reply's `ratchet` object."""
        vote, served, shed = self.vote, self.served, self.reason is Unrecorded.SHED
        return {
            "strategy": "reflect" if self.chosen else "majority",
            "kind": served.kind,
            "rollouts": vote.total,
            "valid": vote.valid,
            "answer": served.answer,
            "agreement": vote.agreement,
            "distribution": served.distribution,
            "policy_version": self.lease.version,
            "recorded": self.reason is None,
            "reason": self.reason if shed else served.reason or self.reason,
        }

    def usage(self) -> dict[str, int]:
        """The reply's `usage`, which counts every rollout, and a reflection."""
        prompt, generated = len(self.draws[0].prompt_ids), sum(draw.tokens for draw in self.draws)
        if self.reflection is not None:
            prompt += len(self.reflection.prompt_ids)
            generated += self.reflection.tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request: its id, and every form in which it is sent."""

    request: SamplingRequest
    id: str
    created: int

    @staticmethod
    def to(request: SamplingRequest) -> "Reply":
        """A reply with a new id."""
        return Reply(request, format_of(request).id_prefix + uuid.uuid4().hex, int(time.time()))

    def completion(self, outcome: Outcome) -> dict[str, Any]:
        """The completion object, with the `n` best-voted rollouts as its choices."""
        shape, request = format_of(self.request), self.request
        choices = [
            shape.choice(index, draw, request.wanted_logprobs)
            for index, draw in enumerate(outcome.ranked[: request.n])
        ]
        if request.legacy:
            choices = [in_older_form(choice) for choice in choices]
        return {
            **self.completion_object(choices),
            "usage": outcome.usage(),
            "ratchet": outcome.extension(),
        }

    def completion_object(self, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The completion object with these choices, without usage and extension."""
        return self._object(format_of(self.request).object, choices)

    def chunks(self, outcome: Outcome) -> list[dict[str, Any]]:
        """The completion as the chunks of a stream, the last one with the extension."""
        pieces = format_of(self.request).pieces
        choices = self.completion(outcome)["choices"]
        *chunks, last = [self.chunk([p]) for choice in choices for p in pieces(choice)]
        return [*chunks, {**last, "ratchet": outcome.extension()}]

    def blank(self) -> bytes:
        """A chunk that says nothing: it follows a comment, since some decoders lose the event that
        does."""
        return sse(self.chunk([format_of(self.request).blank]))

    def events(self, outcome: Outcome) -> list[bytes]:
        """The completion as a stream."""
        return self.ending(self.chunks(outcome), outcome)

    def chunk(self, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A chunk of the stream."""
        chunk = self._object(format_of(self.request).chunk_object, choices)
        return {**chunk, "usage": None} if self.request.includes_usage else chunk

    def progress(self, vote: Vote, distribution: Mapping[str, float], asked: int) -> bytes:
        """A chunk without choices, with the vote while some of the `asked` rollouts are out."""
        counted = {"asked": asked, "rollouts": vote.total, "valid": vote.valid}
        return sse({**self.chunk([]), "ratchet": {**counted, "distribution": distribution}})

    def ending(self, chunks: Sequence[dict[str, Any]], outcome: Outcome) -> list[bytes]:
        """The stream's last events: these chunks, then the usage if it was asked for."""
        sent = [*chunks]
        if self.request.includes_usage:
            sent.append({**self.chunk([]), "usage": outcome.usage()})
        return [*map(sse, sent), DONE]

    def _object(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.request.model,
            "choices": choices,
        }


def single_extension(request: SamplingRequest, lease: Lease) -> dict[str, Any]:
    """The `ratchet` object of a reply that is passed through."""
    unvoted = dict.fromkeys(("valid", "answer", "agreement", "distribution"))
    return {
        "strategy": "single",
        "kind": None,
        "rollouts": request.n * len(request.parts),
        **unvoted,
        "policy_version": lease.version,
        "recorded": False,
        "reason": Unrecorded.SINGLE,
    }


def sse(event: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"
