"""Checks an adapter's files before an engine gets them: their structure, shapes and numbers.

After an adapter with a NaN, vLLM 0.32 answers NaN for base too, once, where it reuses that part of
its cache. So nothing of the kind may reach it. No torch is needed: a safetensors file is 8 bytes of
length, that much JSON, and the bytes of all tensors.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from adapter.store.adapter_folders import CONFIG, WEIGHTS

_A, _B = ".lora_A.weight", ".lora_B.weight"
_WIDTHS = {"F32": 4, "BF16": 2, "F16": 2}
_MAX_ALPHA_SHARE = 1024.0
# The topmost byte of a number has its sign and its 7 (F16: 5) highest bits of exponent. Those left
# here are for numbers under 2^17, which no learning reaches; NaN and infinity have all bits set.
_SMALL = bytes(top for top in range(256) if top & 0x7F < 0x48)
_FINITE_F16 = bytes(top for top in range(256) if top & 0x7C != 0x7C)


class AdapterInvalid(ValueError):
    """An adapter that no engine should be given; the message says why."""


class _Config(BaseModel):
    peft_type: Literal["LORA"]
    r: Annotated[StrictInt, Field(ge=1)]
    lora_alpha: Annotated[float, Field(strict=True, gt=0)]
    use_dora: bool | None = None
    rank_pattern: dict[str, Any] | None = None


class _Matrix(BaseModel):
    """A tensor's entry in the header of a safetensors file; offsets count from the header's end."""

    dtype: Literal["F32", "BF16", "F16"]
    shape: tuple[StrictInt, StrictInt]
    data_offsets: tuple[StrictInt, StrictInt]


_MATRICES = TypeAdapter(dict[str, _Matrix])


def check_adapter(folder: Path) -> None:
    """Raises AdapterInvalid, or OSError if a file cannot be read."""
    text, data = (folder / CONFIG).read_bytes(), memoryview((folder / WEIGHTS).read_bytes())
    try:
        config = _Config.model_validate_json(text)
        start = 8 + struct.unpack_from("<Q", data)[0]
        header: dict[str, Any] = orjson.loads(data[8:start])
        header.pop("__metadata__", None)
        matrices = _MATRICES.validate_python(header)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or CONFIG
        raise AdapterInvalid(f"{field}: {first['msg']}") from None
    except (struct.error, OverflowError, orjson.JSONDecodeError, TypeError, AttributeError):
        raise AdapterInvalid(f"{WEIGHTS} is not in safetensors format") from None
    if config.use_dora or config.rank_pattern:
        raise AdapterInvalid("not a plain LoRA adapter")
    if config.lora_alpha > _MAX_ALPHA_SHARE * config.r:
        raise AdapterInvalid(f"lora_alpha {config.lora_alpha:g} is too large for its rank")
    _check_numbers(matrices, data[start:])
    _check_pairs({name: matrix.shape for name, matrix in matrices.items()}, config.r)


def _check_numbers(matrices: Mapping[str, _Matrix], data: memoryview) -> None:
    """The matrices must fill the data without gaps, with finite numbers of a usual size."""
    end = 0
    for name, matrix in sorted(matrices.items(), key=lambda item: item[1].data_offsets):
        first, last = matrix.data_offsets
        raw, width = data[end:last], _WIDTHS[matrix.dtype]
        if first != end:
            raise AdapterInvalid(f"{name} does not begin where the one before it ends")
        if len(raw) != last - first or math.prod(matrix.shape) * width != len(raw):
            raise AdapterInvalid(f"{name} is not as long as its shape says")
        usual = _FINITE_F16 if matrix.dtype == "F16" else _SMALL
        if bytes(raw[width - 1 :: width]).translate(None, usual):
            raise AdapterInvalid(f"{name} has numbers that are not finite, or far too large")
        end = last
    if end != len(data):
        raise AdapterInvalid("there is more than tensors")


def _check_pairs(shapes: Mapping[str, tuple[int, int]], rank: int) -> None:
    """Each A must have a B, with the rank between them."""
    names = {name.removesuffix(_A).removesuffix(_B) for name in shapes}
    if not names:
        raise AdapterInvalid("it has no weights")
    for name in names:
        a, b = shapes.get(name + _A), shapes.get(name + _B)
        if a is None or b is None:
            raise AdapterInvalid(f"{name} is not a pair of A and B")
        if a[0] != rank or b[1] != rank:
            raise AdapterInvalid(f"{name} does not have rank {rank}")
