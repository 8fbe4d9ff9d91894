"""The papers' benchmarks by name, and any other data set of the Hugging Face Hub or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, cast

from evals.arithmetic.questions import as_items, stream_and_held_out
from evals.items import DatasetInvalid, Item, Layout, items_of, read_file
from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice

BOXED = "\n\nPlease reason step by step, and put your final answer within \\boxed{}."
ARITHMETIC = "arithmetic"
"""Held-out questions for the small model that comes with Ratchet."""
_ARITHMETIC_COUNT = 200
LETTER = "\n\nPlease reason step by step, and put the letter of your answer within \\boxed{}."


@dataclass(frozen=True, slots=True)
class Preset:
    """A data set on the Hub. `epochs` are TTRL's (arXiv 2504.16084)."""

    path: str
    split: str
    layout: Layout
    _: KW_ONLY
    config: str | None = None
    epochs: int | None = None
    answer: AnswerChoice = MATH_OR_LAST_NUMBER
    """How rollouts are read. The papers' graders take the last number where none is marked."""


PRESETS: Mapping[str, Preset] = {
    "aime2024": Preset(
        "HuggingFaceH4/aime_2024", "train", Layout("id", "problem", "answer", instruction=BOXED),
        epochs=80,
    ),
    "amc": Preset(
        "AI-MO/aimo-validation-amc", "train", Layout("id", "problem", "answer", instruction=BOXED),
        epochs=30,
    ),
    "math500": Preset(
        "HuggingFaceH4/MATH-500", "test",
        Layout("unique_id", "problem", "answer", "level", instruction=BOXED), epochs=10,
    ),
    "gpqa": Preset(
        "Idavidrein/gpqa", "train",
        Layout(
            "Record ID", "Question", "Correct Answer", "High-level domain",
            choices=(
                "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3",
            ),
            shuffled=True, instruction=LETTER,
        ),
        config="gpqa_diamond", answer=AnswerChoice("choice"),
    ),
    "mmlu-pro": Preset(
        "TIGER-Lab/MMLU-Pro", "test",
        Layout(
            "question_id", "question", "answer", "category",
            choices=("options",), instruction=LETTER,
        ),
        answer=AnswerChoice("choice"),
    ),
}  # fmt: skip


def answer_choice_for(dataset: str) -> AnswerChoice:
    """How the rollouts of a data set are read: a preset has its own, others have mathematics or the
    last number."""
    return PRESETS[dataset].answer if dataset in PRESETS else MATH_OR_LAST_NUMBER


def epochs_for(dataset: str, size: int) -> int:
    """TTRL's epochs: 80 for AIME 2024, 30 for AMC, 10 for MATH-500; for any other data set, those
    of the one nearest in size (30, 83 and 500 questions)."""
    if dataset in PRESETS and (known := PRESETS[dataset].epochs) is not None:
        return known
    return 80 if size < 50 else 30 if size < 200 else 10


def arithmetic_stream(count: int) -> list[Item]:
    """Questions like those of the data set `arithmetic`, none of which is in it."""
    return as_items(stream_and_held_out(0, count, _ARITHMETIC_COUNT)[0])


def load(
    name: str,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "test",
    config: str | None = None,
    source: str | None = None,
) -> list[Item]:
    """The items of a preset, a `.jsonl` or `.json` file, or a data set on the Hub. `columns`
    renames what the layout calls id, prompt, answer and level; `source` is a folder or another name
    to load a preset's data from. Raises DatasetInvalid."""
    layout = replace(PRESETS[name].layout if name in PRESETS else Layout(), **(columns or {}))
    if name == ARITHMETIC:
        return as_items(stream_and_held_out(0, 0, _ARITHMETIC_COUNT)[1])
    if name in PRESETS:
        preset = PRESETS[name]
        return _fetched(source or preset.path, preset.config, preset.split, layout)
    if name.endswith((".jsonl", ".json")) or Path(name).is_file():
        return read_file(Path(name), layout)
    return _fetched(name, config, split, layout)


def _fetched(path: str, config: str | None, split: str, layout: Layout) -> list[Item]:
    import datasets  # slow to import, and not needed for a file
    from datasets.exceptions import DatasetsError

    if Path(path).is_dir():
        config = None  # local files have no configurations
    try:
        loaded: Any = datasets.load_dataset(path, config, split=split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise DatasetInvalid(
            f"{path}: cannot be fetched: {type(error).__name__}: {reason}. Without the Hub, give a "
            ".jsonl file, or a folder with the preset's files by --source"
        ) from error
    rows = (
        (f"{path}: row {number}", cast("Mapping[str, Any]", row))
        for number, row in enumerate(loaded, 1)
    )
    return items_of(rows, layout, path)
