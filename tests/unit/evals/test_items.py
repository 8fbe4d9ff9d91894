"""Data sets: what is read, and how a mistake in one is told."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.items import LETTERS, DatasetInvalid, Item, Layout, items_of, read_file


def written(folder: Path, *rows: object) -> Path:
    file = folder / "set.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_rows_become_items(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"id": 7, "question": "2+2?", "answer": 4.0, "level": 2},
        "",
        {"id": "b", "question": "1/2?", "answer": "so it is \\boxed{\\frac{1}{2}}", "level": 3},
    )
    assert read_file(file, Layout(instruction="!")) == [
        Item("7", "2+2?!", "4", "2"),
        Item("b", "1/2?!", "\\frac{1}{2}", "3"),
    ]


def test_columns_can_be_renamed(tmp_path: Path) -> None:
    file = written(tmp_path, {"nr": 1, "text": "2+2?", "gold": "4"})
    layout = Layout(id="nr", prompt="text", answer="gold")
    assert read_file(file, layout) == [Item("1", "2+2?", "4")]


def test_a_list_of_rows_without_ids_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    rows = [{"prompt": "x", "answer": "34"}, {"id": "b", "prompt": "y", "answer": 5}]
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows, indent=1).encode())
    assert read_file(file, Layout()) == [Item("1", "x", "34"), Item("b", "y", "5")]


def test_a_named_id_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match='column "nr": is missing'):
        read_file(written(tmp_path, {"prompt": "x", "answer": "1"}), Layout(id="nr"))


@pytest.mark.parametrize(
    ("number", "label"),
    [
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("3" * 400, "3" * 400),
        ("0.10000000000000000001", "0.10000000000000000001"),
        ("4.0", "4"),
        ("1e400", "1E+400"),
    ],
)
def test_numbers_are_exact_however_large(tmp_path: Path, number: str, label: str) -> None:
    file = written(tmp_path, f'{{"id": "a", "prompt": "x", "answer": {number}}}')
    assert [item.answer for item in read_file(file, Layout())] == [label]


GOOD = {"id": "a", "prompt": "2+2?", "answer": "4"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([GOOD, {"id": "b", "prompt": "x"}], 'line 2: column "answer": is missing; there are id'),
        ([GOOD, {"prompt": "x"}], 'line 2: column "answer": is missing'),
        (["[1]"], "row 1: must be an object"),
        (['[{"id": 1}'], "not valid JSON"),
        ([{**GOOD, "answer": math.nan}], "line 1: not valid JSON: NaN"),
        ([{**GOOD, "id": " "}], 'line 1: column "id": is empty'),
        ([GOOD, "", GOOD], "line 3: column \"id\": 'a' is also the id at line 1"),
        ([{**GOOD, "answer": None}], 'line 1: column "answer": must be text or a number'),
        ([{**GOOD, "answer": True}], 'line 1: column "answer": must be text or a number'),
        (['{"id": "a", "prompt": "x", "answer": "\\\\boxed{1"}'], "no answer can be read from"),
        ([{**GOOD, "answer": "x" * 2000}], "no answer can be read from"),
        ([{**GOOD, "prompt": ["2+2"]}], 'column "prompt": must be text'),
        (["{"], "line 1: not valid JSON"),
        (["[]"], "line 1: must be an object"),
        ([""], "has no rows"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_column(tmp_path, rows, said: str) -> None:
    file = written(tmp_path, *rows)
    with pytest.raises(DatasetInvalid) as found:
        read_file(file, Layout())
    assert str(found.value).startswith(str(file))
    assert said in str(found.value)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="No such file"):
        read_file(tmp_path / "none.jsonl", Layout())


SHUFFLED = Layout(choices=("right", "w1", "w2", "w3"), answer="right", shuffled=True)


def choice(key: str) -> Item:
    row = {"id": key, "prompt": "Which?", "right": "R", "w1": "x", "w2": "y", "w3": "z"}
    return items_of([("row 1", row)], SHUFFLED, "set")[0]


def test_shuffled_options_keep_track_of_the_right_one() -> None:
    items = [choice(f"q{number}") for number in range(400)]
    for item in items:
        assert f"{item.answer}. R" in item.prompt
        assert all(f"{letter}. " in item.prompt for letter in "ABCD")
    counts = [sum(item.answer == letter for item in items) for letter in "ABCD"]
    assert min(counts) > 60  # 100 each, sd 8.7
    assert choice("q1") == choice("q1")


def test_listed_options() -> None:
    layout = Layout(choices=("options",))
    row = {"id": 1, "prompt": "Which?", "options": ["x", "y", "z"], "answer": "c"}
    assert items_of([("row 1", row)], layout, "set") == [
        Item("1", "Which?\n\nA. x\nB. y\nC. z", "C")
    ]
    for wrong in ({"answer": "D"}, {"answer": "AB"}, {"options": "xyz"}, {"options": ["x"]}):
        with pytest.raises(DatasetInvalid, match=r'row 1: column "(answer|options)"'):
            items_of([("row 1", {**row, **wrong})], layout, "set")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
rows = st.dictionaries(
    st.sampled_from(["id", "prompt", "answer", "level", "options"]),
    scalars | st.lists(scalars, max_size=12),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # its table of characters, made once
@given(st.lists(rows, max_size=4), st.sampled_from([Layout(), Layout(choices=("options",))]))
def test_any_rows_become_sound_items_or_one_message(several, layout: Layout) -> None:
    placed = [(f"row {number}", row) for number, row in enumerate(several, 1)]
    try:
        items = items_of(placed, layout, "set")
    except DatasetInvalid as error:
        assert str(error).startswith(("row ", "set: "))
        return
    assert len({item.id for item in items}) == len(items) == len(several)
    for item in items:
        assert item.prompt and item.answer and not math.isnan(float(len(item.level)))
        assert not layout.choices or item.answer in LETTERS
