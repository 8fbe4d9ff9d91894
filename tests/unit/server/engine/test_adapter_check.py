import struct
from pathlib import Path

import orjson
import pytest

from server.engine.adapter_check import AdapterInvalid, check_adapter

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}


def write(folder: Path, kind: str = "F32", number: bytes = b"\0\0\x80\x3f", gap: int = 0) -> Path:
    """A pair of matrices, [2, 3] and [1, 2], whose last number is given; F32's 1 by default."""
    width = len(number)
    shapes = {"m.lora_A.weight": [2, 3], "m.lora_B.weight": [1, 2]}
    header, at = {}, 0
    for name, (rows, columns) in shapes.items():
        size = rows * columns * width
        header[name] = {"dtype": kind, "shape": [rows, columns], "data_offsets": [at, at + size]}
        at += size
    text = orjson.dumps({"__metadata__": {"format": "pt"}, **header})
    data = bytes(at - width) + number + bytes(gap)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_bytes(orjson.dumps(CONFIG))
    return folder


# Little-endian. 2^16 is the largest power of two that passes; half precision ends before it.
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("F32", struct.pack("<f", 65536.0)), ("F32", struct.pack("<f", -1e-30)),
        ("BF16", struct.pack("<f", -65536.0)[2:]), ("F16", struct.pack("<e", 65504.0)),
    ],
)  # fmt: skip
def test_numbers_that_learning_can_reach(tmp_path: Path, kind: str, number: bytes) -> None:
    check_adapter(write(tmp_path, kind, number))


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        *(("F32", struct.pack("<f", x)) for x in (float("nan"), float("-inf"), 131072.0, -1e30)),
        *(("BF16", struct.pack("<f", x)[2:]) for x in (float("nan"), float("inf"), -131072.0)),
        *(("F16", struct.pack("<e", x)) for x in (float("nan"), float("-inf"))),
    ],
)
def test_numbers_that_it_cannot(tmp_path: Path, kind: str, number: bytes) -> None:
    with pytest.raises(AdapterInvalid, match=r"m\.lora_B\.weight has numbers that are not finite"):
        check_adapter(write(tmp_path, kind, number))


def test_bytes_that_belong_to_no_tensor(tmp_path: Path) -> None:
    with pytest.raises(AdapterInvalid, match="more than tensors"):
        check_adapter(write(tmp_path, gap=1))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        check_adapter(tmp_path)
