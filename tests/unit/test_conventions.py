"""The rules of CONTRIBUTING.md that no other tool checks."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from deploy.references import ROOT

WINGS = ("rewards", "adapter", "server", "evals", "ratchet", "deploy", "loadtests")
FILES = sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))
TEXTS = [
    *FILES,
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
]

# Words of our own that a reader had to learn, and the field's words for them.
PRIVATE_WORDS = {
    r"ballots?": "tally",
    r"inquir(y|ies)": "vote session",
    r"vigils?": "monitor",
    r"bur(y|ied|ies)": "dead-letter",
    r"rehears\w*": "dry run",
    r"reckon\w*": "compute",
    r"seen off": "answered",
    r"obey\w*": "follow",
    r"seizes?": "take over",
    r"glances?": "quick check",
    r"hindrances?": "reason",
}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=shown)
def test_a_file_is_short_and_says_what_it_is_for(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= 300
    assert ast.get_docstring(ast.parse(text))


def test_a_folder_holds_a_handful_of_files() -> None:
    held = Counter(file.parent for file in FILES if not file.is_relative_to(ROOT / "loadtests"))
    assert {shown(folder): count for folder, count in held.items() if count > 14} == {}


@pytest.mark.parametrize("file", TEXTS, ids=shown)
def test_no_private_word_is_used(file: Path) -> None:
    text = re.sub(r"^import .*|^from .*", "", file.read_text(), flags=re.MULTILINE)
    for word, better in PRIVATE_WORDS.items():
        found = re.search(rf"(?<![A-Za-z]){word}(?![A-Za-z])", text, re.IGNORECASE)
        assert found is None, f"{found[0]!r}: say {better}"
