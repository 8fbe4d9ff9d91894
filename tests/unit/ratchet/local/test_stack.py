"""Which processes a local stack starts."""

from pathlib import Path
from typing import Any

import pytest

from ratchet.local.stack import Stack
from ratchet.settings import StackSettings


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({}, {"redis", "engine", "server", "adapter"}),
        ({"redis_url": "redis://h:1/0"}, {"engine", "server", "adapter"}),
        ({"engine_url": "http://h:8100"}, {"redis", "server", "adapter"}),
    ],
)
def test_what_the_settings_name_is_not_started(
    tmp_path: Path, given: dict[str, Any], started: set[str]
) -> None:
    settings = StackSettings(
        state_dir=tmp_path, adapters_dir=tmp_path / "adapters", port=0, engine_port=0, **given
    )
    stack = Stack(settings)
    assert stack.children.keys() == started
    assert stack.settings.engine_url.startswith(given.get("engine_url", "http://127.0.0.1:"))
