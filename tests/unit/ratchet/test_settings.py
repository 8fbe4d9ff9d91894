import argparse
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from adapter.settings import AdapterSettings
from ratchet.errors import ConfigurationError
from ratchet.settings import StackSettings, add_flags, environment_for, flags_of, groups_of, read
from server.settings import ServerSettings


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "ratchet.yaml"
    file.write_text("port: 1\nrollouts: 2\nmodel_name: from-file\n")
    environment = {"RATCHET_PORT": "3", "RATCHET_ROLLOUTS": "4", "PATH": "/bin"}
    settings = read(ServerSettings, {"port": "5"}, environment, file)
    assert (settings.port, settings.rollouts, settings.model_name) == (5, 4, "from-file")
    assert settings.max_rollouts == 64


def test_one_file_serves_every_process(tmp_path: Path) -> None:
    file = tmp_path / "ratchet.yaml"
    file.write_text("port: 1\nlearning_rate: 0.5\n")
    assert read(ServerSettings, {}, {}, file).port == 1
    assert read(AdapterSettings, {}, {}, file).learning_rate == 0.5


@pytest.mark.parametrize(
    ("text", "environment", "named"),
    [
        ("colour: red\n", {}, "colour"),
        ("", {"RATCHET_COLOUR": "red"}, "RATCHET_COLOUR"),
        ("port: many\n", {}, "port"),
        ("", {"RATCHET_LEARNING_RATE": "-1"}, "learning_rate"),
        ("advantage: ppo\n", {}, "advantage.* must be one of grpo, dr_grpo, rloo, reinforce"),
        ("loss: ppo\n", {}, "loss: Input should be 'grpo', 'dr_grpo', 'cispo', 'gspo' or 'rein"),
        ("a: [\n", {}, "ratchet.yaml"),
        ("- a\n", {}, "ratchet.yaml"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, text: str, environment: dict[str, str], named: str
) -> None:
    file = tmp_path / "ratchet.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        read(StackSettings, {}, environment, file)


def test_a_child_process_reads_what_its_parent_decided(tmp_path: Path) -> None:
    stack = StackSettings(port=7, reward="dare", adapters_dir=tmp_path)
    nowhere = tmp_path / "none.yaml"
    server = read(ServerSettings, {}, environment_for(ServerSettings, stack), nowhere)
    learner = read(AdapterSettings, {}, environment_for(AdapterSettings, stack), nowhere)
    assert (server.port, server.adapters_dir, learner.reward) == (7, tmp_path, "dare")


def test_every_setting_is_documented() -> None:
    assert [n for n, f in StackSettings.model_fields.items() if not f.description] == []


class Shared(BaseModel):
    """What everybody needs.

    More about it.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str = "a"
    """Whose it is."""
    size: int = 1
    """How much."""


class Kitchen(Shared):
    """Where it cooks: 100% heat."""

    oven_heat: int = 180
    """Degrees, 100% of them."""


class Garden(Shared):
    """Where it grows"""

    beds: int = 2
    """How many."""


class House(Kitchen, Garden):
    """All of it."""

    door: str = "red"
    """Its colour."""
    size: int = 9
    """How much of it."""


def test_settings_are_grouped_by_the_class_that_introduces_them() -> None:
    assert [(title, list(fields)) for title, fields in groups_of(House)] == [
        ("All of it", ["door"]),
        ("Where it cooks: 100% heat", ["oven_heat"]),
        ("Where it grows", ["beds"]),
        ("What everybody needs", ["name", "size"]),
    ]
    assert [title for title, _ in groups_of(Shared)] == ["What everybody needs"]


def test_flags_are_grouped_likewise() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, House)
    shown = parser.format_help().partition("show this help")[2]
    at = [
        shown.index(part)
        for part in ("All of it:", "--door", "heat:", "--oven-heat", "grows:", "--beds", "needs:",
                     "--name", "--size SIZE")
    ]  # fmt: skip
    assert at == sorted(at)
    assert "Degrees, 100% of them. [180]" in shown
    assert "How much of it. [9]" in shown
    given = parser.parse_args(["--oven-heat", "200", "--size", "3"])
    assert flags_of(given) == {"oven_heat": "200", "size": "3"}


@pytest.mark.parametrize("kind", [ServerSettings, AdapterSettings, StackSettings])
def test_every_setting_is_in_one_titled_group(kind: type[BaseModel]) -> None:
    names = [name for title, fields in groups_of(kind) for name in fields if title]
    assert sorted(names) == sorted(kind.model_fields)
