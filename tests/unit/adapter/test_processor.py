from pathlib import Path

import pytest

from adapter.processor import has_bfloat16


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu amx_bf16 sse", True), ("fpu avx512_bf16 avx512f", False), ("", False)],
)
def test_the_flags_say_it(tmp_path: Path, flags: str, has: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: none\n")
    assert has_bfloat16(file) is has


def test_where_nothing_says_it_there_is_none(tmp_path: Path) -> None:
    assert not has_bfloat16(tmp_path / "nothing")
