"""The operator's labelled questions: what is read, and what is refused with its place."""

from pathlib import Path

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from server.promotion.labels.labelled_queries import LabelledQueriesInvalid, read_labelled_queries
from server.recording.reservoir import Query

TOOL = '{"type": "function", "function": {"name": "weather"}}'


def read(file: Path) -> list[Query]:
    return read_labelled_queries(file, AnswerChoice("math"), AnswerKinds())


def written(folder: Path, text: str) -> Path:
    file = folder / "gate.jsonl"
    file.write_text(text)
    return file


def test_questions_and_messages(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '{"question": "1+1?", "answer": 2, "source": "mine"}\n\n'
        '{"messages": [{"role": "user", "content": "2+2?"}], "answer": "4"}\n',
    )
    first, second = read(file)
    assert (first.prompt, first.label) == ([{"role": "user", "content": "1+1?"}], "2")
    assert (second.prompt[0]["content"], second.label) == ("2+2?", "4")


def test_a_line_may_say_how_it_is_read_and_asked(tmp_path: Path) -> None:
    lines = [
        '{"question": "a", "answer": "1"}',
        '{"question": "a", "answer": "yes", "kind": {"kind": "choice", "options": ["yes", "no"]}}',
        '{"question": "a", "answer": {"a": 1}, "response_format": {"type": "json_object"}}',
        f'{{"question": "a", "answer": [{{"name": "weather"}}], "tools": [{TOOL}]}}',
        f'{{"question": "a", "answer": "4", "tools": [{TOOL}], "kind": "short"}}',
    ]
    plain, choice, json, calls, short = read(written(tmp_path, "\n".join(lines)))
    assert (plain.answer, plain.options) == (AnswerChoice("math"), {})
    assert choice.answer == AnswerChoice("choice", options=("yes", "no"))
    assert (json.answer, json.label) == (AnswerChoice("json"), '{"a":1}')
    assert json.options == {"response_format": {"type": "json_object"}}
    assert (calls.answer, calls.label) == (AnswerChoice("tool_calls"), '[{"name":"weather"}]')
    assert [tool["type"] for tool in calls.options["tools"]] == ["function"]
    assert (short.answer, list(short.options)) == (AnswerChoice("short"), ["tools"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"question": "a", "answer": "1", "kind": "telepathy"}\n', "line 1, kind: must be one of"),
        ('{"question": "a", "answer": "1", "kind": {"kind": "pattern", "pattern": "("}}\n',
         "line 1, pattern: does not compile"),
        ("", "no questions"),
        ('{"question": "1+1?"}\n', "line 1, answer"),
        ('{"question": "a", "answer": "1"}\nnot json\n', "line 2"),
        ('{"answer": "1"}\n', "either question or messages"),
        ('{"question": "a", "messages": [{}], "answer": "1"}\n', "either question or messages"),
        ('{"question": "a", "answer": ""}\n', "answer"),
        ("[1]\n", "line 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(LabelledQueriesInvalid, match=complaint) as refused:
        read(written(tmp_path, text))
    assert "gate.jsonl" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledQueriesInvalid, match="nowhere"):
        read(tmp_path / "nowhere")
