"""Parity in bfloat16 on a real model: a real update, none, and another's, beside other clients."""

import asyncio
from pathlib import Path

import pytest

from deploy.references import ROOT
from loadtests.parity_bench import run
from ratchet.local.models import SMOLLM2
from ratchet.recipe import with_recipe
from ratchet.settings import StackSettings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.needs("libnuma"),
    pytest.mark.alone,
]


def test_a_real_update_is_told_from_none_and_from_another(tmp_path: Path) -> None:
    models = ROOT / ".ratchet" / "models"
    settings = StackSettings(model=SMOLLM2, models_dir=models, dtype="bfloat16")
    found = asyncio.run(run(with_recipe(settings), 1, tmp_path))
    assert [(one.case, one.right) for one in found] == [
        ("real", True), ("nothing", True), ("another", True)
    ]  # fmt: skip
