"""Canned replies as vLLM 0.32 sends them: chat completions of n rollouts, whole or streamed, cut
into the pieces that an engine sends which decodes all rollouts in step.

Rollouts end in `\\boxed{…}`. Lengths are lognormal, answers agree with a stated probability; both
are drawn from a seed. Wrong rollouts are no longer than right ones, though in practice they are.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

END = "<|im_end|>"
_NAMES = {"id": "chatcmpl-8a0dbeef51c3d2f7", "created": 1_795_000_000, "model": "base"}
_FINGERPRINT = "vllm-0.32.0-c600fa23"
_PROMPT_IDS = [1, 268, 201, 274, 19, 20, 21, 13, 22, 23, 24, 33, 2, 201, 1, 273, 201]
_TAIL = 6
"""Tokens that give the answer: the box, three digits, its end, and the end of the text."""
_WRONG = (1, 2, 10)
_HEAD = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\nvary: Origin\r\n"
_STREAM_HEAD = (
    _HEAD + b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An engine's replies: rollouts of `tokens` tokens in the median, with a standard deviation of
    `sigma` in log length, one token every `token_ms`, the first at once. `agreement` is the
    probability that a rollout is right; the others err in one of three ways. `variants` are made.
    """

    tokens: int
    sigma: float = 0.0
    token_ms: float = 0.0
    agreement: float = 0.75
    variants: int = 16


SHAPES = {
    "short": Shape(tokens=16, sigma=0.2, variants=64),
    "streamed": Shape(tokens=20, token_ms=20.0),
    "skewed": Shape(tokens=200, sigma=0.6, token_ms=1.0, variants=32),
    "long": Shape(tokens=2000, variants=4),
    "3k": Shape(tokens=3000, variants=1),
    "32k": Shape(tokens=32_768, variants=1),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes sent when every rollout has `token` tokens; 0 is on arrival of the request."""

    token: int
    data: bytes


@dataclass(frozen=True)
class CannedRollout:
    """One canned rollout; its last token ends it and has no text."""

    tokens: Sequence[str]
    ids: Sequence[int]
    logprobs: Sequence[float]
    finish_reason: str = "stop"

    @cached_property
    def text(self) -> str:
        """All of it."""
        return "".join(self.tokens[:-1])

    def piece(self, start: int, end: int, wanted: Wanted) -> dict[str, Any]:
        """Tokens `start` to `end` as the choice of a chunk, without its index."""
        last = end == len(self.tokens)
        text = "".join(self.tokens[start : end - last])
        return {
            "delta": {"content": text},
            "logprobs": {"content": self._rows(start, end)} if wanted.logprobs else None,
            "finish_reason": self.finish_reason if last else None,
            **({"stop_reason": None} if last else {}),
            "token_ids": list(self.ids[start:end]) if wanted.token_ids else None,
        }

    def _rows(self, start: int, end: int) -> list[dict[str, Any]]:
        return [
            {
                "token": token,
                "logprob": logprob,
                "bytes": list(token.encode()),
                "top_logprobs": [],
            }
            for token, logprob in zip(self.tokens[start:end], self.logprobs[start:end], strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Fields of a request that these replies depend on."""

    n: int = 1
    stream: bool = False
    interval: int = 1
    token_ids: bool = False
    logprobs: bool = False

    @staticmethod
    def of(body: Mapping[str, Any]) -> Wanted:
        """From the body of a chat completion request."""
        return Wanted(
            n=int(body.get("n") or 1),
            stream=bool(body.get("stream")),
            interval=int(body.get("stream_interval") or 1),
            token_ids=bool(body.get("return_token_ids")),
            logprobs=bool(body.get("logprobs")),
        )


def replies(shape: Shape, wanted: Wanted, seed: int = 7) -> list[Sequence[Step]]:
    """All variants of the reply to such a request."""
    rng = random.Random(f"{seed}:{wanted.n}")
    return [_reply(rollouts(shape, wanted.n, rng), wanted) for _ in range(shape.variants)]


def rollouts(shape: Shape, count: int, rng: random.Random) -> list[CannedRollout]:
    """`count` rollouts of one question."""
    right = rng.randrange(100, 900)
    return [_written(shape, right, rng) for _ in range(count)]


def _written(shape: Shape, right: int, rng: random.Random) -> CannedRollout:
    answer = right if rng.random() < shape.agreement else right + rng.choice(_WRONG)
    length = round(shape.tokens * math.exp(rng.gauss(0.0, shape.sigma)))
    words = [rng.choice(_WORDS) for _ in range(max(1, length - _TAIL))]
    tokens = [words[0].strip(), *words[1:], " \\boxed{", *str(answer), "}", END]
    ids = [rng.randrange(150_000) for _ in tokens]
    return CannedRollout(tokens, ids, [-rng.expovariate(3.0) for _ in tokens])


def _reply(written: Sequence[CannedRollout], wanted: Wanted) -> Sequence[Step]:
    return streamed(written, wanted) if wanted.stream else [_whole(written)]


def _whole(written: Sequence[CannedRollout]) -> Step:
    made = sum(len(one.tokens) for one in written)
    body = {
        **_NAMES,
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": one.text, "refusal": None,
                            "annotations": None, "audio": None, "function_call": None,
                            "reasoning": None},
                "logprobs": None, "finish_reason": "stop", "stop_reason": None,
                "token_ids": None, "routed_experts": None,
            }
            for index, one in enumerate(written)
        ],
        "service_tier": None,
        "system_fingerprint": _FINGERPRINT,
        "usage": {"prompt_tokens": len(_PROMPT_IDS), "total_tokens": len(_PROMPT_IDS) + made,
                  "completion_tokens": made, "prompt_tokens_details": None,
                  "completion_tokens_details": None},
        "prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None,
        "kv_transfer_params": None, "ec_transfer_params": None, "metrics": None,
    }  # fmt: skip
    return Step(max(len(one.tokens) for one in written), json_reply(body))


def streamed(
    written: Sequence[CannedRollout], wanted: Wanted, prompt_ids: Sequence[int] = _PROMPT_IDS
) -> Sequence[Step]:
    """The streamed reply of these rollouts, from the head of the HTTP response on."""
    sent: defaultdict[int, list[bytes]] = defaultdict(list)
    prompt = {
        "prompt_token_ids": prompt_ids if wanted.token_ids else None,
        "prompt_text": None,
    }
    for index in range(len(written)):
        role = {"delta": {"role": "assistant", "content": ""}, "logprobs": None}
        sent[1].append(_event(index, {**role, "finish_reason": None}, prompt))
    for index, one in enumerate(written):
        cuts = [0, *range(1, len(one.tokens), wanted.interval), len(one.tokens)]
        for start, end in itertools.pairwise(cuts):
            ends = end == len(one.tokens)
            more = {"system_fingerprint": _FINGERPRINT} if ends else {}
            sent[end].append(_event(index, one.piece(start, end, wanted), more))
    steps = [Step(token, b"".join(events)) for token, events in sorted(sent.items())]
    last = Step(steps[-1].token, steps[-1].data + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return [Step(0, _STREAM_HEAD), *steps[:-1], last]


def _event(index: int, choice: Mapping[str, Any], more: Mapping[str, Any]) -> bytes:
    chunk = {
        "id": _NAMES["id"],
        "object": "chat.completion.chunk",
        "created": _NAMES["created"],
        "model": _NAMES["model"],
        "choices": [{"index": index, **choice}],
        **more,
    }
    return _chunk(b"data: " + orjson.dumps(chunk) + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def json_reply(body: Mapping[str, Any], status: bytes = b"200 OK") -> bytes:
    """A whole HTTP reply."""
    data = orjson.dumps(body)
    head = _HEAD.replace(b"200 OK", status) + b"content-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(data) + data


def _words() -> list[str]:
    rng = random.Random(3)
    return [
        " " + "".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 8))) for _ in range(999)
    ]


_WORDS = _words()
