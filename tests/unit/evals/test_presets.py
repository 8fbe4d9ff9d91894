"""The papers' benchmarks, loaded by the real library from local files of the same shape."""

import json
from pathlib import Path

import pytest

from evals.items import DatasetInvalid
from evals.presets import (
    ARITHMETIC,
    BOXED,
    LETTER,
    PRESETS,
    answer_choice_for,
    arithmetic_stream,
    load,
)

# One row each as the Hub's viewer shows them: names and types of columns, with made-up content.
ROWS = {
    "aime2024": {"id": 60, "problem": "Find it.", "solution": "...", "answer": "073", "year": 2024},
    "amc": {"id": 0, "problem": "Find it.", "answer": 142.0, "url": "https://example.org"},
    "math500": {
        "problem": "Convert.", "solution": "...", "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
        "subject": "Precalculus", "level": 2, "unique_id": "test/precalculus/807.json",
    },
    "gpqa": {
        "Record ID": "rec1", "Question": "Which?", "Correct Answer": "this",
        "Incorrect Answer 1": "not", "Incorrect Answer 2": "nor", "Incorrect Answer 3": "neither",
        "High-level domain": "Physics",
    },
    "mmlu-pro": {
        "question_id": 70, "question": "Which?", "options": ["a", "b", "c"], "answer": "B",
        "answer_index": 1, "category": "business", "src": "made up",
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def source(folder: Path, name: str, *rows: dict) -> str:
    place = folder / name
    place.mkdir()
    file = place / f"{PRESETS[name].split}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(place)


def test_letters_are_read_as_letters_and_the_rest_as_mathematics() -> None:
    kinds = {name: answer_choice_for(name).kind for name in PRESETS}
    assert kinds == {name: "choice" if name in ("gpqa", "mmlu-pro") else "math" for name in PRESETS}
    assert answer_choice_for("mine.jsonl").last_number


def test_every_preset_is_tested() -> None:
    assert set(ROWS) == set(PRESETS)


@pytest.mark.parametrize(
    ("name", "answer", "level"),
    [
        ("aime2024", "073", ""),
        ("amc", "142", ""),
        ("math500", "\\left( 3, \\frac{\\pi}{2} \\right)", "2"),
        ("mmlu-pro", "B", "business"),
    ],
)
def test_a_preset(folder: Path, name: str, answer: str, level: str) -> None:
    (item,) = load(name, source=source(folder, name, ROWS[name]))
    assert (item.answer, item.level) == (answer, level)
    assert item.prompt.endswith(LETTER if name == "mmlu-pro" else BOXED)


def test_gpqa(folder: Path) -> None:
    (item,) = load("gpqa", source=source(folder, "gpqa", ROWS["gpqa"]))
    assert f"\n{item.answer}. this\n" in item.prompt
    assert item.level == "Physics"


def test_a_bad_row_is_told(folder: Path) -> None:
    place = source(folder, "math500", ROWS["math500"], {**ROWS["math500"], "answer": " "})
    with pytest.raises(DatasetInvalid, match='math500: row 2: column "answer": is empty'):
        load("math500", source=place)


def test_a_name_that_cannot_be_fetched_says_what_to_do(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetInvalid, match=r"nobody/nothing: cannot be fetched: .*\.jsonl file"):
        load("nobody/nothing")


def test_the_small_models_questions_need_no_file() -> None:
    items = load(ARITHMETIC)
    assert len(items) == 200
    assert {item.level for item in items} == {"L1", "L2", "L3", "L4", "L5"}


def test_questions_asked_are_none_that_are_evaluated() -> None:
    asked = {item.prompt for item in arithmetic_stream(50)}
    assert len(asked) == 50
    assert not asked & {item.prompt for item in load(ARITHMETIC)}
