"""What a chat reply looks like: completion object, stream chunks, and the `ratchet` extension."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from rewards.ballot import Ballot
from rewards.votes import Vote
from server.engine import Sample
from server.policy import Lease
from server.schema import ChatRequest


def ranked(ballot: Ballot, vote: Vote) -> list[int]:
    """Rollout indices, best-voted answer first, the vote's own winner at the head."""
    sizes = [len(rows) for rows in ballot.members]
    votes = [0 if cluster is None else sizes[cluster] for cluster in ballot.clusters]
    return sorted(range(len(ballot)), key=lambda i: (i != vote.winner, -votes[i], i))


def chunks_of(completion: Mapping[str, Any], request: ChatRequest) -> list[dict[str, Any]]:
    """A finished completion as the chunks of a stream; the extension rides on the last choice's."""
    head = {key: completion[key] for key in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    chunks: list[dict[str, Any]] = []
    for choice in completion["choices"]:
        index = choice["index"]
        for delta in (
            {"role": "assistant", "content": ""},
            {"content": choice["message"]["content"]},
        ):
            logprobs = choice["logprobs"] if "role" not in delta else None
            chunks.append(head | {"choices": [_delta(index, delta, None) | {"logprobs": logprobs}]})
        chunks.append(head | {"choices": [_delta(index, {}, choice["finish_reason"])]})
    chunks[-1]["ratchet"] = completion["ratchet"]
    if request.stream_options is not None and request.stream_options.include_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append(head | {"choices": [], "usage": completion["usage"]})
    return chunks


def sse(event: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _delta(index: int, delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def completion_of(
    request: ChatRequest, sample: Sample, rows: Sequence[int], extension: Mapping[str, Any]
) -> dict[str, Any]:
    """The chat completion object with the rollouts `rows` as its choices, in that order."""
    generated, prompt = sample.completion_tokens, len(sample.prompt_ids)
    return {
        "id": new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            {
                "index": index,
                "message": sample.choices[row]["message"],
                "logprobs": _logprobs(sample.choices[row], request),
                "finish_reason": sample.choices[row]["finish_reason"],
                "stop_reason": sample.choices[row].get("stop_reason"),
            }
            for index, row in enumerate(rows)
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
        },
        "ratchet": extension,
    }


def _logprobs(choice: Mapping[str, Any], request: ChatRequest) -> Mapping[str, Any] | None:
    """What the client asked for of the engine's log-probabilities: we may have had more."""
    if not request.logprobs:
        return None
    asked = request.top_logprobs or 0
    content = [
        {**token, "top_logprobs": token.get("top_logprobs", [])[:asked]}
        for token in choice["logprobs"]["content"]
    ]
    return {**choice["logprobs"], "content": content}


def extension_of(
    strategy: str, rollouts: int, lease: Lease, *, recorded: bool, reason: str | None
) -> dict[str, Any]:
    """The reply's `ratchet` object, with the vote's fields still empty."""
    return {
        "strategy": strategy,
        "rollouts": rollouts,
        "valid": None,
        "answer": None,
        "agreement": None,
        "distribution": None,
        "policy_version": lease.version,
        "recorded": recorded,
        "reason": reason,
    }


def new_id() -> str:
    """A completion id of ours."""
    return f"chatcmpl-{uuid.uuid4().hex}"
