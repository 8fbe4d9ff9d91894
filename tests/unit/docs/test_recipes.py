"""Each recipe is followed to the letter in a copy of the tree; what it makes passes its check."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.references import ROOT
from ratchet.recipe import SMOLLM2_RECIPE, TINY_RECIPE
from ratchet.settings import StackSettings

SETTINGS, RECIPES = (ROOT / "docs" / "recipes.md").read_text().split("\n# Adding something\n")
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


@pytest.mark.parametrize(
    ("row", "recipe"), [("0.7M, the small model", TINY_RECIPE), ("135M, SmolLM2", SMOLLM2_RECIPE)]
)
def test_the_small_models_rows_are_their_recipes(row: str, recipe: dict[str, Any]) -> None:
    [cells] = re.findall(rf"^\| {row} \| (.*) \|$", SETTINGS, re.MULTILINE)
    defaults = {name: field.default for name, field in StackSettings.model_fields.items()}
    one = {**defaults, **recipe}
    rate, rollouts, temperature, update, floor, _ = cells.split(" | ")
    assert float(rate) == one["learning_rate"]
    learnt = one["learn_rollouts"] or one["train_rollouts"]
    assert rollouts == f"{one['rollouts']} / {learnt}"
    assert float(temperature) == one["rollout_temperature"]
    assert update == f"{one['groups_per_update']}, {one['updates_per_candidate']}"
    assert float(floor) == one["train_support"]


def test_the_other_rows_name_what_differs_from_the_defaults() -> None:
    assert StackSettings.model_fields["learning_rate"].default == 1e-5
    assert "| 1.5B | 1e-5 [2] |" in SETTINGS
