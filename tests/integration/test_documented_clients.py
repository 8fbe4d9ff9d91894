"""The blocks of docs/clients.md, each run as it stands by the client that it is for: it prints what
the page shows, numbers apart."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.references import ROOT
from evals.arithmetic.rollouts import MODEL
from tests.gateway import Gateway, gateway
from tests.live import LiveStack
from tests.programs import CLIENTS

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS, STAND_IN = "http://127.0.0.1:8000", "stand-in"
COMMANDS = {
    "python": [str(CLIENTS / "bin" / "python"), "-c"],
    "js": ["node", "--input-type=module", "--eval"],
    "sh": ["bash", "-euo", "pipefail", "-c"],
}
"""What runs a block of each language, the block last."""


@dataclass(frozen=True, slots=True)
class Documented:
    """A block that is run, of a `section`; the `files` that it finds, and what it prints."""

    section: str
    language: str
    engine: str
    code: str
    files: dict[str, str]
    printed: str


def documented() -> Iterator[Documented]:
    for part in PAGE.split("\n## ")[1:]:
        files: dict[str, str] = {}
        blocks = BLOCK.findall(part)
        for (language, word, code), (kind, _, printed) in pairwise(blocks):
            if language in ("yaml", "json"):
                files[word] = code
            elif kind == "text":
                yield Documented(part.partition("\n")[0], language, word, code, files, printed)


def params(engine: str) -> list[object]:
    """The blocks for that engine, each with what it needs and named after its section."""
    found = [block for block in documented() if block.engine == engine]
    needs = {"js": "node-clients"}
    return [
        pytest.param(
            block, id=block.section, marks=pytest.mark.needs(needs.get(block.language, "clients"))
        )
        for block in found
    ]


def run(block: Documented, root: str, folder: Path) -> str:
    """What the block prints, run against the server at `root`."""
    for name, text in block.files.items():
        (folder / name).write_text(text.replace(ADDRESS, root))
    code = block.code.replace(ADDRESS, root).replace("=MODEL", f"={MODEL}")
    environment = {
        **os.environ, "PATH": f"{CLIENTS / 'bin'}:{os.environ['PATH']}", "HOME": str(folder),
        "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "LLM_USER_PATH": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "any", "PYTHONSAFEPATH": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*COMMANDS[block.language], code], env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=200,
        cwd=CLIENTS if block.language == "js" else folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]
    return done.stdout


def without_numbers(text: str) -> str:
    """The text with every number as `0`, tables as narrow as they can be."""
    return re.sub(r"[ -]+", " ", re.sub(r"\d+(\.\d+)?", "0", text)).strip()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server over a stand-in for vLLM, which calls tools and keeps to schemas."""
    with gateway(tmp_path_factory.mktemp("stand-in")) as server:
        yield server


pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.mark.lane("live", 1)
@pytest.mark.parametrize("block", params(""))
def test_it_prints_what_the_page_shows(block: Documented, live: LiveStack, tmp_path: Path) -> None:
    assert without_numbers(run(block, live.root, tmp_path)) == without_numbers(block.printed)


@pytest.mark.parametrize("block", params(STAND_IN))
def test_tools_and_schemas_print_what_the_page_shows(
    block: Documented, stand_in: Gateway, tmp_path: Path
) -> None:
    assert without_numbers(run(block, stand_in.root, tmp_path)) == without_numbers(block.printed)
