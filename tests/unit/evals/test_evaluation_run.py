"""The folder of an evaluation: going on, refusing another one, and numbers by hand."""

import json
from pathlib import Path

import pytest

from evals.evaluation import Graded
from evals.evaluation_report import comparison_page, gains, ks, summary, write_report
from evals.evaluation_run import EvaluationRun, RunInvalid

META = {"dataset": "d", "model": "m", "n": 4, "temperature": 0.6, "top_p": 0.95, "max_tokens": 9}


def one(key: str, right: int, level: str = "") -> Graded:
    """`right` of four rollouts are right; a majority wins with three."""
    answers = ["1"] * right + [None] * (4 - right)
    correct = [True] * right + [False] * (4 - right)
    return Graded(id=key, level=level, answers=answers, correct=correct, maj=right > 2, tokens=8.0)


def kept(folder: Path, *graded: Graded, **meta: object) -> EvaluationRun:
    run = EvaluationRun.begin(folder, {**META, **meta})
    with run.writer() as rows:
        for each in graded:
            rows.keep(each)
    return run


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    kept(tmp_path, one("a", 4), one("b", 2))
    again = EvaluationRun.begin(tmp_path, META)
    assert list(again.graded) == ["a", "b"]
    assert again.graded["b"].avg == 0.5


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    kept(tmp_path, one("a", 4), one("b", 2))
    rows = tmp_path / "questions.jsonl"
    rows.write_text(rows.read_text()[:-9])
    again = kept(tmp_path, one("c", 1))
    assert list(again.graded) == ["a", "c"]
    assert list(EvaluationRun.read(tmp_path).graded) == ["a", "c"]


def test_a_line_spoilt_in_the_middle_is_told(tmp_path: Path) -> None:
    kept(tmp_path, one("a", 4), one("b", 2))
    rows = tmp_path / "questions.jsonl"
    rows.write_text("{\n" + rows.read_text())
    with pytest.raises(RunInvalid, match="line 1"):
        EvaluationRun.read(tmp_path)


def test_another_evaluations_folder_is_refused(tmp_path: Path) -> None:
    kept(tmp_path, one("a", 4))
    with pytest.raises(RunInvalid, match=r"temperature 0\.6, not 1\.0: choose another --out"):
        EvaluationRun.begin(tmp_path, {**META, "temperature": 1.0})


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="holds no evaluation"):
        EvaluationRun.read(tmp_path)


def test_numbers(tmp_path: Path) -> None:
    found = summary([one("a", 4, "L1"), one("b", 2, "L1"), one("c", 0, "L2"), one("d", 0, "L2")])
    assert found["avg@4"][0] == pytest.approx(6 / 16)
    assert found["maj@4"][0] == 0.25
    # pass@2 of 2 right of 4: 1 - C(2,2)/C(4,2) = 5/6
    assert found["pass@2"][0] == pytest.approx((1 + 5 / 6) / 4)
    assert found["pass@4"][0] == 0.5
    assert found["pass@1"][0] == pytest.approx(found["avg@4"][0])
    assert (found["answered"], found["tokens"]) == (6 / 16, 8.0)
    assert found["levels"]["L1"]["avg@4"][0] == 0.75
    assert found["levels"]["L2"]["avg@4"] == [0.0, 0.0, 0.0]


def test_ks() -> None:
    assert ks(16) == [1, 2, 4, 8, 16]
    assert ks(6) == [1, 2, 4, 6]
    assert ks(1) == [1]


def test_the_report_says_what_is_missing(tmp_path: Path) -> None:
    run = kept(tmp_path, one("a", 4, "L1"), one("b", 2, "L2"))
    page = write_report(run, ["a", "b", "c"])
    assert "1 questions are missing" in page
    assert "| level L2 | 1 | 50.0 (50.0..50.0) | 0.0" in page
    assert json.loads((tmp_path / "result.json").read_text())["missing"] == 1
    assert (tmp_path / "accuracy.png").stat().st_size > 5_000


def test_comparison_pairs_by_question(tmp_path: Path) -> None:
    names = [f"q{number}" for number in range(12)]
    first = kept(tmp_path / "a", *(one(name, 1) for name in names), one("only", 4))
    second = kept(tmp_path / "b", *(one(name, 3) for name in reversed(names)), temperature=1.0)
    found = gains(first, second)
    assert (found["questions"], found["left_out"]) == (12, 1)
    assert found["protocols_differ"] == ["temperature"]
    assert found["avg@4"]["gain"] == pytest.approx(0.5)
    assert found["avg@4"]["p"] == pytest.approx(2 / 2**12)
    page = comparison_page(first, second, found)
    assert "| avg@4 | 25.0 | 75.0 | +50.0 (50.0..50.0) | 0.0005 |" in page
    assert "differ in temperature" in page


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    first = kept(tmp_path / "a", one("a", 1))
    with pytest.raises(RunInvalid, match="no question in common"):
        gains(first, kept(tmp_path / "b", one("b", 1)))
    with pytest.raises(RunInvalid, match="n differs: 4 and 8"):
        gains(first, kept(tmp_path / "c", one("a", 1), n=8))
