"""Looks at an adapter's files before an engine does: their structure, shapes and numbers.

After an adapter with a NaN, vLLM 0.32 answers NaN for base as well, once, where it uses that part
of its cache again. So nothing of the kind may reach it. No torch is needed: a safetensors file is 8
bytes of length, that much JSON, and the bytes of all tensors.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from adapter.store.adapter_folders import CONFIG, WEIGHTS

_A, _B = ".lora_A.weight", ".lora_B.weight"
_WIDTHS = {"F32": 4, "BF16": 2, "F16": 2}
_MAX_ALPHA_SHARE = 1024.0
# The topmost byte of a number has its sign and its 7 (F16: 5) highest bits of exponent. Those left
# here are for numbers under 2^17, which no learning reaches; NaN and infinity have all bits set.
_SMALL = bytes(top for top in range(256) if top & 0x7F < 0x48)
_FINITE_F16 = bytes(top for top in range(256) if top & 0x7C != 0x7C)


class AdapterUnfit(ValueError):
    """An adapter that no engine should be given; the message says why."""


def check_adapter(folder: Path) -> None:
    """Raises AdapterUnfit, or OSError if a file cannot be read."""
    rank = _rank((folder / CONFIG).read_bytes())
    data = (folder / WEIGHTS).read_bytes()
    header, start = _header(data)
    shapes: dict[str, tuple[int, int]] = {}
    end = start
    for name, entry in sorted(header.items(), key=lambda item: _offsets(*item)):
        shapes[name], raw = _tensor(name, entry, memoryview(data)[start:])
        if not _moderate(raw, entry["dtype"]):
            raise AdapterUnfit(f"{name} has numbers that are not finite, or far too large")
        if start + _offsets(name, entry)[0] != end:
            raise AdapterUnfit(f"{name} does not begin where the one before it ends")
        end += len(raw)
    if end != len(data):
        raise AdapterUnfit("there is more than tensors")
    _pairs(shapes, rank)


def _rank(text: bytes) -> int:
    try:
        config = orjson.loads(text)
        rank, alpha, kind = config["r"], config["lora_alpha"], config["peft_type"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise AdapterUnfit(f"{CONFIG} is not that of an adapter") from None
    if kind != "LORA" or config.get("use_dora") or config.get("rank_pattern"):
        raise AdapterUnfit("not a plain LoRA adapter")
    if type(rank) is not int or rank < 1:
        raise AdapterUnfit(f"rank {rank!r}")
    if type(alpha) not in (int, float) or not 0 < alpha <= _MAX_ALPHA_SHARE * rank:
        raise AdapterUnfit(f"alpha {alpha!r}")
    return rank


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    try:
        start = 8 + struct.unpack_from("<Q", data)[0]
        header = orjson.loads(data[8:start])
    except (struct.error, OverflowError, orjson.JSONDecodeError):
        raise AdapterUnfit(f"{WEIGHTS} is not in safetensors format") from None
    if start > len(data) or not isinstance(header, dict):
        raise AdapterUnfit(f"{WEIGHTS} is not in safetensors format")
    header.pop("__metadata__", None)
    return header, start  # pyright: ignore[reportUnknownVariableType]


def _offsets(name: str, entry: Any) -> tuple[int, int]:
    try:
        first, last = entry["data_offsets"]
        if type(first) is int and type(last) is int:
            return first, last
    except (KeyError, TypeError, ValueError):
        pass
    raise AdapterUnfit(f"{name} has no place in the file")


def _tensor(name: str, entry: Mapping[str, Any], data: memoryview) -> tuple[Any, memoryview]:
    """Shape and bytes of one matrix."""
    first, last = _offsets(name, entry)
    shape, kind = entry.get("shape"), entry.get("dtype")
    if kind not in _WIDTHS:
        raise AdapterUnfit(f"{name} has numbers of type {kind!r}")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int for n in shape):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        raise AdapterUnfit(f"{name} is not a matrix")
    if not 0 <= first <= last <= len(data) or math.prod(shape) * _WIDTHS[kind] != last - first:  # pyright: ignore[reportUnknownArgumentType]
        raise AdapterUnfit(f"{name} is not as long as its shape says")
    return tuple(shape), data[first:last]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _moderate(raw: memoryview, kind: str) -> bool:
    width = _WIDTHS[kind]
    return not bytes(raw[width - 1 :: width]).translate(
        None, _FINITE_F16 if kind == "F16" else _SMALL
    )


def _pairs(shapes: Mapping[str, tuple[int, int]], rank: int) -> None:
    """Each A has a B, and both the rank between them."""
    names = {name.removesuffix(_A).removesuffix(_B) for name in shapes}
    if not names:
        raise AdapterUnfit("it has no weights")
    for name in names:
        a, b = shapes.get(name + _A), shapes.get(name + _B)
        if a is None or b is None:
            raise AdapterUnfit(f"{name} is not a pair of A and B")
        if a[0] != rank or b[1] != rank:
            raise AdapterUnfit(f"{name} does not have rank {rank}")
