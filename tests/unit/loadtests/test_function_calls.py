"""Function calls against the calls that are right, and votes on them."""

import json
import random
from pathlib import Path

import pytest

from evals.items import DatasetInvalid
from loadtests.call_votes import planted, singles, voted
from loadtests.function_calls import call_in, read_questions
from rewards.rollouts import ToolCall
from server.engine.scripted import Spoken

ROW = {
    "id": "q", "messages": [{"role": "user", "content": "The area of a 10 by 5 triangle?"}],
    "functions": [{"name": "area", "description": "Area.", "parameters": {
        "type": "dict", "properties": {"base": {"type": "integer"}, "unit": {"type": "string"}},
        "required": ["base"]}}],
    "ground_truth": [{"area": {"base": [10, 10.0], "unit": ["units", ""]}}],
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "calls.jsonl"
    made.write_text(f"{json.dumps(ROW)}\n")
    return made


@pytest.mark.parametrize(
    ("name", "arguments", "right"),
    [
        ("area", {"base": 10}, True),
        ("area", {"base": 10, "unit": " UNITS"}, True),
        ("area", {"base": 10.0, "unit": "units"}, True),
        ("area", {"base": 11}, False),
        ("area", {"base": "10"}, False),
        ("area", {"base": True}, False),
        ("area", {"unit": "units"}, False),
        ("area", {"base": 10, "height": 5}, False),
        ("volume", {"base": 10}, False),
    ],
)
def test_which_calls_are_right(
    file: Path, name: str, arguments: dict[str, object], right: bool
) -> None:
    [question] = read_questions(file)
    assert question.answered_by(ToolCall(name, json.dumps(arguments))) == right


def test_arguments_that_are_no_object_are_wrong(file: Path) -> None:
    [question] = read_questions(file)
    assert not question.answered_by(ToolCall("area", "[10]"))
    assert not question.answered_by(ToolCall("area", "{"))


def test_a_question_is_asked_with_its_function(file: Path) -> None:
    [question] = read_questions(file)
    assert question.tool["function"]["parameters"]["type"] == "object"
    assert '{"name": "area", "arguments": {...}}' in question.prompt


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('Sure: {"name": "f", "arguments": {"a": 1}} there', ToolCall("f", '{"a": 1}')),
        ('{"x": 1} {"name": "f", "arguments": {}}', ToolCall("f", "{}")),
        ('{"name": "f", "arguments": [1]}', None),
        ('{"name": "f", "argum', None),
        ("no call", None),
    ],
)
def test_a_call_is_found_in_a_reply(text: str, call: ToolCall | None) -> None:
    assert call_in(text) == call


def test_a_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    made = tmp_path / "bad.jsonl"
    made.write_text(f"{json.dumps(ROW)}\n{json.dumps({**ROW, 'functions': []})}\n")
    with pytest.raises(DatasetInvalid, match="line 2: ValueError"):
        read_questions(made)


async def test_the_voted_call_is_the_most_frequent_one(file: Path) -> None:
    [question] = read_questions(file)

    def calls(*bases: int) -> list[Spoken]:
        return [Spoken(calls=[ToolCall("area", f'{{"base": {base}}}')]) for base in bases]

    drawn = [calls(10, 10, 11, 12), calls(11, 11, 10, 12)]
    assert await voted([question, question], drawn) == [True, False]
    assert singles([question, question], drawn) == [0.5, 0.25]


def test_a_planted_caller_has_its_skill(file: Path) -> None:
    [question] = read_questions(file)
    rng = random.Random(1)
    drawn = [planted(question, 8, 0.5, rng) for _ in range(300)]
    assert sum(singles([question] * 300, drawn)) / 300 == pytest.approx(0.5, abs=0.05)
