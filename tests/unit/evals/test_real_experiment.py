"""The experiment on a real model: its tasks and its table, by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.arithmetic.questions import Question
from evals.experiments.real.course import RealCourse, scores_of
from evals.experiments.real.report import METHODS, real_experiment
from evals.experiments.real.tasks import TASKS
from evals.items import DatasetInvalid
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import Rollout, RolloutGroup, Sampling


def test_own_tasks_have_no_pair_of_numbers_on_both_sides() -> None:
    for name in ("products", "word problems"):
        learnt, scored = TASKS[name].halves(3, 60, None)
        assert len(learnt) == len(scored) == 60
        numbers = [
            {frozenset(word.strip("?") for word in q.text.split() if word.strip("?").isdigit())
             for q in half} for half in (learnt, scored)
        ]  # fmt: skip
        assert not numbers[0] & numbers[1]
    assert all(" times " not in q.text for q in TASKS["word problems"].halves(0, 9, None)[0])


def test_data_are_split_by_seed_and_asked_as_a_person_would(tmp_path: Path) -> None:
    rows = [{"id": n, "review": f"It is number {n}.", "answer": "positive"} for n in range(50)]
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    learnt, scored = TASKS["reviews"].halves(0, 20, file)
    assert len(learnt) == len(scored) == 20
    assert not {q.id for q in learnt} & {q.id for q in scored}
    assert learnt[0].text.startswith("Is the sentiment of this review positive or negative?")
    assert TASKS["reviews"].halves(0, 20, file)[0] == learnt
    assert TASKS["reviews"].halves(1, 20, file)[0] != learnt


def test_a_row_that_cannot_be_graded_is_named(tmp_path: Path) -> None:
    file = tmp_path / "svamp.jsonl"
    file.write_text('{"question": "2 + 2?", "answer": "4"}\n{"question": "3 + 3?"}\n')
    with pytest.raises(DatasetInvalid, match='line 2: column "answer": is missing'):
        TASKS["svamp"].halves(0, 1, file)
    with pytest.raises(ValueError, match="--source svamp=FILE"):
        TASKS["svamp"].halves(0, 1, None)


def group(name: str, answers: str) -> RolloutGroup:
    rollouts = [Rollout(answer, [1, 2], [-1.0, -1.0], "stop") for answer in answers]
    return RolloutGroup(name, name, [1], rollouts, 0, Sampling(), "", 0.0)


def test_scores_and_waves_by_hand() -> None:
    """`7777` needs no second wave; `7878…` is open to the end, and the 7 wins it."""
    asked = [Question("a", "", "7", 0, ""), Question("b", "", "8", 0, "")]
    groups = [group("a", "7777" + "8" * 4), group("b", "78787877")]
    kind = AnswerKinds().of(TASKS["products"].choice)
    found = scores_of(asked, groups, kind)
    assert found["avg_of"] == {"a": 0.5, "b": 3 / 8}
    assert found["avg"] == pytest.approx(7 / 16)
    assert found["passed"] == 1.0
    assert (found["leading"]["b"], found["maj_of"]["b"]) == ("7", 0.0)
    assert found["tokens"] == 2.0
    assert found["drawn"] == 8.0


def test_what_is_in_the_data_is_part_of_a_course_where_they_are_is_not(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    keys = [RealCourse(sources={"svamp": str(tmp_path / name)}).key() for name in "abc"]
    assert keys[0] == keys[1] != keys[2]
    course = RealCourse()
    assert course.key() != keys[0]
    assert course.of_seed(4).key() == {**course.key(), "seed": 4}
    assert json.loads(json.dumps(course.key())) == course.key()


def record(avg: float, right: dict[str, bool], guard: float = 1.0) -> dict[str, Any]:
    test = {
        "n": 4, "avg": avg, "maj": avg, "passed": 0.9, "waves": 0.5, "drawn": 8.0, "tokens": 3.0,
        "avg_of": dict.fromkeys(right, avg), "maj_of": {k: float(v) for k, v in right.items()},
        "leading": {name: str(10 + value) for name, value in right.items()},
    }  # fmt: skip
    steps = [{"avg": 0.1, "labelled": 1.0, "label_accuracy": x, "reward_accuracy": 0.6}
             for x in (0.5, 0.7)]  # fmt: skip
    tests = {"products": test, "word problems": dict(test)}
    return {
        "tests": tests, "again": tests, "steps": steps, "collapse": [], "diverged": "",
        "guard": {"did": 9.0, "kept": guard, "likelihood": 0.1}, "tokens": 10, "seconds": 1.0,
    }  # fmt: skip


def cells(text: str, label: str) -> list[str]:
    """A row of the first table."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_tells_learnt_from_corrupted(tmp_path: Path) -> None:
    experiment = real_experiment({})
    base = record(0.3, {"a": True, "b": False, "c": False, "d": True})
    after = record(0.5, {"a": True, "b": True, "c": False, "d": False}, 0.75)
    results = {label: [after, after] for label in experiment.variants}
    results["base"] = [base, base]
    text = experiment.report(results, tmp_path)
    found = cells(text, "random reward")
    assert found[1].startswith("50.0")
    assert found[2].startswith("+20.0")
    assert found[5:8] == ["25% / 25% / 25% / 25%", "50%", "50% → 70%"]
    assert found[8].startswith("60.0") and found[9].startswith("+20.0")
    assert found[10].startswith("75.0") and found[11].startswith("+0.10")
    assert found[12:] == ["10", "no"]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count(" | ") for line in rows} == {13}
    again = cells(text, "base, sampled again")
    assert again[2].startswith("+0.0") and again[5:7] == ["0% / 50% / 0% / 50%", "0%"]
    assert "Not run: svamp, reviews (`--source`, `--task`, `--method`)." in text
    assert len(METHODS) * 2 + 1 == len(experiment.variants)
    assert (tmp_path / "real-products.png").is_file()


def test_without_labels_none_are_right_or_wrong_and_failures_are_told(tmp_path: Path) -> None:
    experiment = real_experiment({}, ["products"])
    base, after = record(0.3, {"a": True}), record(0.3, {"a": True})
    for step in after["steps"]:
        step.update(labelled=0.0, label_accuracy=0.0, reward_accuracy=0.9)
    after.update(diverged="loss nan", collapse=["short"])
    half = record(0.3, {"a": True})
    for step in half["steps"]:
        step.update(labelled=0.5, label_accuracy=0.4)
    results = {label: [after, after] for label in experiment.variants}
    results |= {"base": [base, base], "DARE, products": [half, half]}
    text = experiment.report(results, tmp_path)
    assert cells(text, "random reward")[7:9] == ["-", "-"]
    assert cells(text, "random reward")[13] == "diverged (loss nan), short"
    assert cells(text, "DARE")[7:9] == ["80% → 80% of 50%", "-"]


def test_a_course_that_failed_early_is_kept(tmp_path: Path) -> None:
    experiment = real_experiment({}, ["products"], ["majority (TTRL)", "DARE"])
    base, at_once, later = (record(0.3, {"a": True}) for _ in range(3))
    at_once.update(steps=[], diverged="loss nan")
    later.update(steps=later["steps"][:1], diverged="loss inf")
    results = {
        "base": [base, base], "majority (TTRL), products": [at_once, at_once],
        "DARE, products": [later, base],
    }  # fmt: skip
    text = experiment.report(results, tmp_path)
    assert cells(text, "majority (TTRL)")[7:9] == ["-", "-"]
    assert cells(text, "majority (TTRL)")[13] == "diverged (loss nan)"
    assert cells(text, "DARE")[7].startswith("50% → ")


def test_a_task_that_is_too_hard_is_reported_as_such(tmp_path: Path) -> None:
    weak = record(0.0, {"a": False})
    for test in weak["tests"].values():
        test["passed"] = 0.0
    experiment = real_experiment({})
    text = experiment.report({label: [weak, weak] for label in experiment.variants}, tmp_path)
    assert text.count("The model is too weak for this task") == 2


def test_only_what_was_asked_for_is_run_and_shown(tmp_path: Path) -> None:
    chosen = real_experiment({}, ["products"], ["majority (TTRL)"])
    assert list(chosen.variants) == ["base", "majority (TTRL), products"]
    one = record(0.3, {"a": True})
    text = chosen.report({label: [one, one] for label in chosen.variants}, tmp_path)
    assert "#### products" in text and "| DARE |" not in text
    assert "Not run: word problems, svamp, reviews, random reward, DARE" in text
