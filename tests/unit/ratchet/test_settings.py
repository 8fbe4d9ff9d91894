from pathlib import Path

import pytest

from adapter.settings import AdapterSettings
from ratchet.errors import ConfigurationError
from ratchet.settings import StackSettings, environment_for, read
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
