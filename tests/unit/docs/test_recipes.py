"""Each recipe is followed to the letter in a copy of the tree; what it makes passes its check."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.references import ROOT

RECIPES = (ROOT / "docs" / "recipes.md").read_text()
TITLES = re.findall(r"^## (.+)$", RECIPES, re.MULTILINE)
BLOCK = re.compile(r"^```(python|diff|sh) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("rewards", "adapter", "server", "evals", "ratchet", "deploy", "docs", "tests")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of everything that a recipe may touch."""
    for folder in FOLDERS:
        unwanted = shutil.ignore_patterns("__pycache__", "images", "lock")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def changed(text: str, diff: str) -> str:
    """The text after a diff whose context stands in it once."""
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -") + "\n"
    after = "\n".join(line[1:] for line in lines if line[0] in " +") + "\n"
    assert text.count(before) == 1, f"stands there {text.count(before)} times:\n{before}"
    return text.replace(before, after)


@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_holds_what_it_says(title: str, tree: Path) -> None:
    part = RECIPES.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    blocks = BLOCK.findall(part)
    assert blocks[-1][0] == "sh"
    for kind, path, content in blocks[:-1]:
        file = tree / path
        if kind == "diff":
            file.write_text(changed(file.read_text(), content))
        else:
            assert not file.exists()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-ec", blocks[-1][2]], cwd=tree, capture_output=True, text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
