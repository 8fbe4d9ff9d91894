"""`ratchet plan`, and the plan at the start of stack and learner."""

import json
from pathlib import Path

import pytest

from adapter.settings import AdapterSettings
from adapter.training.memory.plan import GIB
from ratchet.__main__ import main
from ratchet.commands.plan import cards_of
from ratchet.errors import ConfigurationError
from ratchet.local.fitting import fitted
from ratchet.settings import StackSettings

QWEN_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a config and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    return tmp_path


def test_a_table_for_people(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", str(model), "--gpu", "80", "--max-model-len", "4096"]) == 0
    said = capsys.readouterr().out
    assert "engine: KV cache" in said
    assert "set   gradient_checkpointing: on" in said
    assert "disk" in said


def test_json_for_programs(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", str(model), "--gpu", "2x24", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["settings"]["gpu_memory_utilization"] == 0.9
    assert plan["bytes"]["GPU"] < 48 * GIB
    assert set(plan["bytes"]) == {"GPU", "host", "disk"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gpu", "24"], "2 such GPUs"),
        (["--gpu", "none", "--host-gib", "16"], "or more memory"),
        (["--gpu", "80", "--host-gib", "8"], "lower buffer_max_bytes"),
        (["--gpu", "big"], "--gpu"),
        (["--gpu", "24", "--model", "nobody/has-this"], "hf download"),
    ],
)
def test_what_does_not_fit_ends_with_status_2(
    model: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert main(["plan", "--model", str(model), *flags]) == 2
    assert said in capsys.readouterr().err


def test_cards() -> None:
    assert cards_of("24") == (1, 24 * GIB)
    assert cards_of("2x80") == (2, 80 * GIB)
    assert cards_of("none") == (0, 0)


def test_a_stack_that_cannot_fit_is_not_started(tmp_path: Path) -> None:
    huge = {**QWEN_7B, "num_hidden_layers": 28_000}
    (tmp_path / "config.json").write_text(json.dumps(huge))
    with pytest.raises(ConfigurationError, match=r"memory: .*the learner needs"):
        fitted(StackSettings(model=str(tmp_path)))


def test_a_learner_that_cannot_fit_says_so_before_it_loads_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = {**QWEN_7B, "num_hidden_layers": 28_000}
    (tmp_path / "config.json").write_text(json.dumps(huge))
    flags = ["--model", str(tmp_path), "--adapters-dir", str(tmp_path / "a"), "--log-dir", ""]
    assert main(["adapt", *flags, "--redis-url", "memory://", "--device", "cpu"]) == 2
    assert "set model to a smaller one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [(True, "on"), ("false", "off"), ("1", "on"), ("auto", "auto"), ("on", "on")],
)
def test_checkpointing_was_a_boolean(given: object, meant: str) -> None:
    assert AdapterSettings(gradient_checkpointing=given).gradient_checkpointing == meant
