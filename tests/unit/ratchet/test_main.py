"""The command line: every command parses and finds its function; heavy imports come late."""

import pkgutil
import re
import subprocess
import sys

import pytest

from ratchet.__main__ import command_parser, main

COMMANDS = (
    "up", "demo", "model smollm2", "serve", "keys list", "adapt", "releases list",
    "forget somebody", "eval arithmetic", "ask arithmetic", "compare one two",
    "adapt-on arithmetic", "score -", "plan", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_finds_its_function(line: str) -> None:
    assert callable(pkgutil.resolve_name(command_parser().parse_args(line.split()).run))


def test_no_command_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    ([a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE)
    assert listed == [line.split()[0] for line in COMMANDS]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("keys add", "set keys_file"),
        ("ask arithmetic --rate 0", "--rate must be above 0"),
        ("score missing.jsonl", "missing.jsonl"),
        ("adapt --learning-rate=-1", "learning_rate"),
        ("serve --admin-port 1", "admin_key"),
    ],
)
def test_what_is_set_wrong_ends_with_status_2(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_alone_loads_no_torch() -> None:
    code = (
        "import sys, ratchet.__main__ as it; it.command_parser(); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
