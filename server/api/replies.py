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
from server.api.requests import SamplingRequest
from server.engine.base import Draw
from server.policy.leases import Lease
from server.policy.reasons import Unrecorded

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A voted answer: what was drawn by then, and the vote over it.

    `reason` says why the group will not be learnt from; None if it will.
    """

    draws: Sequence[Draw]
    tally: Tally
    vote: Vote
    lease: Lease
    reason: Unrecorded | None

    @property
    def generated(self) -> int:
        """Tokens of all rollouts."""
        return sum(len(draw.rollout.token_ids) for draw in self.draws)

    @property
    def ranked(self) -> list[Draw]:
        """Best-voted answer first, the vote's own winner at the head."""
        tally, vote = self.tally, self.vote
        sizes = [len(rows) for rows in tally.members]
        votes = [0 if cluster is None else sizes[cluster] for cluster in tally.clusters]
        rows = sorted(range(len(tally)), key=lambda i: (i != vote.winner, -votes[i], i))
        return [self.draws[row] for row in rows]

    def extension(self) -> dict[str, Any]:
        """The reply's `ratchet` object."""
        vote = self.vote
        return {
            "strategy": "majority",
            "rollouts": vote.total,
            "valid": vote.valid,
            "answer": vote.answer,
            "agreement": vote.agreement,
            "distribution": {key: count / vote.total for key, count in vote.counts.items()},
            "policy_version": self.lease.version,
            "recorded": self.reason is None,
            "reason": self.reason,
        }

    def usage(self) -> dict[str, int]:
        """Every rollout counts."""
        prompt = len(self.draws[0].prompt_ids)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.generated,
            "total_tokens": prompt + self.generated,
        }


def single_extension(request: SamplingRequest, lease: Lease) -> dict[str, Any]:
    """The `ratchet` object of a reply that was passed through."""
    return {
        "strategy": "single",
        "rollouts": request.n,
        "valid": None,
        "answer": None,
        "agreement": None,
        "distribution": None,
        "policy_version": lease.version,
        "recorded": False,
        "reason": Unrecorded.SINGLE,
    }


def completion_of(reply_id: str, request: SamplingRequest, outcome: Outcome) -> dict[str, Any]:
    """The completion object, with the `n` best-voted rollouts as its choices."""
    shape = format_of(request)
    return {
        "id": reply_id,
        "object": shape.object,
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            shape.choice(index, draw, request.wanted_logprobs)
            for index, draw in enumerate(outcome.ranked[: request.n])
        ],
        "usage": outcome.usage(),
        "ratchet": outcome.extension(),
    }


def chunk_head(reply_id: str, request: SamplingRequest) -> dict[str, Any]:
    """What every chunk of a streamed reply begins with."""
    return {
        "id": reply_id,
        "object": format_of(request).chunk_object,
        "created": int(time.time()),
        "model": request.model,
    }


def progress_of(reply_id: str, request: SamplingRequest, vote: Vote, asked: int) -> dict[str, Any]:
    """A chunk without choices that tells how a vote stands while some of the `asked` rollouts are
    still out."""
    return {
        **chunk_head(reply_id, request),
        "choices": [],
        "ratchet": {
            "asked": asked,
            "rollouts": vote.total,
            "valid": vote.valid,
            "distribution": {key: count / vote.total for key, count in vote.counts.items()},
        },
    }


def events_of(completion: Mapping[str, Any], request: SamplingRequest) -> list[bytes]:
    """A finished completion as a stream; the extension rides on the last choice's last chunk."""
    shape = format_of(request)
    head = chunk_head(completion["id"], request) | {"created": completion["created"]}
    chunks = [
        head | {"choices": [piece]}
        for choice in completion["choices"]
        for piece in shape.pieces(choice)
    ]
    chunks[-1]["ratchet"] = completion["ratchet"]
    if request.includes_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append(head | {"choices": [], "usage": completion["usage"]})
    return [*map(sse, chunks), DONE]


def sse(event: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def new_id(request: SamplingRequest) -> str:
    """A completion id of ours."""
    return format_of(request).id_prefix + uuid.uuid4().hex
