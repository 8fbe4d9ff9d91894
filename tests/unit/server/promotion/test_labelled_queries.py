"""The operator's labelled questions: what is read, and what is refused with its place."""

from pathlib import Path

import pytest

from server.promotion.labelled_queries import LabelledQueriesInvalid, read_labelled_queries


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
    first, second = read_labelled_queries(file)
    assert (first.prompt, first.label) == ([{"role": "user", "content": "1+1?"}], "2")
    assert (second.prompt[0]["content"], second.label) == ("2+2?", "4")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no questions"),
        ('{"question": "1+1?"}\n', "line 1, answer"),
        ('{"question": "a", "answer": "1"}\nnot json\n', "line 2"),
        ('{"answer": "1"}\n', "either question or messages"),
        ('{"question": "a", "messages": [{}], "answer": "1"}\n', "either question or messages"),
        ('{"question": "a", "answer": ""}\n', "answer"),
        ("[1]\n", "line 1"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(LabelledQueriesInvalid, match=complaint) as refused:
        read_labelled_queries(written(tmp_path, text))
    assert "gate.jsonl" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledQueriesInvalid, match="nowhere"):
        read_labelled_queries(tmp_path / "nowhere")
