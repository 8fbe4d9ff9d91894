"""A RolloutGroup as bytes: versioned, compact, checked on the way in.

Layout: b"RG3" + zlib(u32 header length, JSON header, int32 token ids, float32 log-probabilities).
The prompt's ids come first, then each rollout's; the header has their lengths. Of each array all
first bytes come first, then all second ones, and so on: that takes a tenth less room. b"RG2" has
the name of an answer kind in place of a choice, and no calls; b"RG1" has numbers whole, too. Both
are read.
"""

import asyncio
import struct
import sys
import zlib
from array import array
from itertools import accumulate, pairwise
from typing import Any

import orjson

from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from rewards.rollouts import Reflection, Rollout, RolloutGroup, Sampling, ToolCall

MAGIC, _NO_CHOICE, _WHOLE_NUMBERS = b"RG3", b"RG2", b"RG1"
_BYTES = 4
"""Of a number."""
MAX_BYTES = 64 << 20
"""Of a group before it is compressed: 64 rollouts of 32,768 tokens have half of that."""
_INLINE_TOKENS, _INLINE_BYTES = 4_096, 1 << 15
"""More than this is packed and unpacked in a thread: about a millisecond's worth."""


class WireError(ValueError):
    """The bytes are not a RolloutGroup of a version this process reads, or too many."""


def pack(group: RolloutGroup) -> bytes:
    """Bytes of a group; 64 rollouts of 3,000 tokens stay under 1.6 MB. Raises WireError for more
    than MAX_BYTES."""
    ids = array("i", group.prompt_ids)
    logprobs = array("f")
    for rollout in group.rollouts:
        ids.extend(rollout.token_ids)
        logprobs.extend(rollout.logprobs)
    _swap_if_big_endian(ids, logprobs)
    s = group.sampling
    header = orjson.dumps(
        {
            "id": group.id,
            "prompt": group.prompt,
            "prompt_tokens": len(group.prompt_ids),
            "tokens": [len(r.token_ids) for r in group.rollouts],
            "texts": [r.text for r in group.rollouts],
            "finish": [r.finish_reason for r in group.rollouts],
            "entropies": [r.entropy for r in group.rollouts],
            "version": group.policy_version,
            "sampling": [s.temperature, s.top_p, s.top_k, s.max_tokens],
            "client": group.client,
            "created_at": group.created_at,
            "answer": group.answer.to_json(),
            **_calls_of(group),
            **({} if group.reflection is None else {"reflection": group.reflection.answer}),
        }
    )
    body = struct.pack("<I", len(header)) + header + _by_place(ids) + _by_place(logprobs)
    if len(body) > MAX_BYTES:
        raise WireError(f"a group of more than {MAX_BYTES} bytes")
    return MAGIC + zlib.compress(body, 1)


def unpack(data: bytes) -> RolloutGroup:
    """The group in `data`. Raises WireError for anything that `pack` did not make."""
    if data[:3] not in (MAGIC, _NO_CHOICE, _WHOLE_NUMBERS):
        raise WireError("unknown wire version")
    try:
        inflate = zlib.decompressobj()
        body = inflate.decompress(data[3:], MAX_BYTES)
        if not inflate.eof:
            raise WireError("truncated or oversized group")
        (header_length,) = struct.unpack_from("<I", body)
        header: dict[str, Any] = orjson.loads(body[4 : 4 + header_length])
        prompt_tokens, lengths = header["prompt_tokens"], header["tokens"]
        start = 4 + header_length
        split = start + 4 * (prompt_tokens + sum(lengths))
        read = bytes if data[:3] == _WHOLE_NUMBERS else _whole
        ids, logprobs = array("i", read(body[start:split])), array("f", read(body[split:]))
        if len(logprobs) != sum(lengths):
            raise WireError("lengths do not add up")
        _swap_if_big_endian(ids, logprobs)
        prompt_ids, token_ids = ids[:prompt_tokens], ids[prompt_tokens:]
        rollouts = [
            Rollout(
                text,
                token_ids[begin:end],
                logprobs[begin:end],
                finish,
                entropy=entropy,
                calls=tuple(ToolCall(str(name), str(arguments)) for name, arguments in calls),
            )
            for text, finish, entropy, calls, (begin, end) in zip(
                header["texts"],
                header["finish"],
                header.get("entropies", [None] * len(lengths)),  # older groups have none
                header.get("calls", [()] * len(lengths)),
                pairwise(accumulate(lengths, initial=0)),
                strict=True,
            )
        ]
        temperature, top_p, top_k, max_tokens = header["sampling"]
        if not all(type(n) in (int, float) for n in (*header["sampling"], header["created_at"])):
            raise WireError("not a number")  # JSON has null for one that is not finite
        return RolloutGroup(
            id=header["id"], prompt=header["prompt"], prompt_ids=prompt_ids, rollouts=rollouts,
            policy_version=header["version"],
            sampling=Sampling(temperature, top_p, top_k, max_tokens),
            client=header["client"], created_at=header["created_at"],
            answer=_choice(header, data[:3]), reflection=_reflection(header),
        )  # fmt: skip
    except (zlib.error, struct.error, orjson.JSONDecodeError) as error:
        raise WireError(f"damaged group: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"malformed group: {error!r}") from None


async def pack_aside(group: RolloutGroup) -> bytes:
    """As `pack`, without blocking the event loop. Raises WireError."""
    if sum(len(rollout.token_ids) for rollout in group.rollouts) <= _INLINE_TOKENS:
        return pack(group)
    return await asyncio.to_thread(pack, group)


async def unpack_aside(data: bytes) -> RolloutGroup | None:
    """As `unpack`, without blocking the event loop; None for unreadable bytes."""
    try:
        if len(data) <= _INLINE_BYTES:
            return unpack(data)
        return await asyncio.to_thread(unpack, data)
    except WireError:
        return None


def _reflection(header: dict[str, Any]) -> Reflection | None:
    """What the model chose, if it was asked to; older groups have none."""
    if "reflection" not in header:
        return None
    if not isinstance(answer := header["reflection"], str | None):
        raise WireError("a reflection's answer is no text")
    return Reflection(answer)


def _calls_of(group: RolloutGroup) -> dict[str, Any]:
    """The calls of each rollout, if any rollout calls a tool."""
    calls = [[(call.name, call.arguments) for call in r.calls] for r in group.rollouts]
    return {"calls": calls} if any(calls) else {}


def _choice(header: dict[str, Any], magic: bytes) -> AnswerChoice:
    """How a group is read: before there were choices, by its kind's name or as `math`."""
    if magic == MAGIC:
        return AnswerChoice.from_json(header["answer"])
    kind = header.get("answer_kind", "math")
    return MATH_OR_LAST_NUMBER if kind == "math" else AnswerChoice.from_json(kind)


def _by_place(numbers: "array[Any]") -> bytes:
    """First bytes of all numbers, then second ones, and so on."""
    data = numbers.tobytes()
    return b"".join(data[place::_BYTES] for place in range(_BYTES))


def _whole(data: bytes) -> bytes:
    """Undoes `_by_place`. Raises ValueError for a broken number."""
    count = len(data) // _BYTES
    numbers = bytearray(len(data))
    for place in range(_BYTES):
        numbers[place::_BYTES] = data[place * count : (place + 1) * count]
    return bytes(numbers)


def _swap_if_big_endian(*arrays: "array[Any]") -> None:
    if sys.byteorder == "big":
        for values in arrays:
            values.byteswap()
