"""The part of the results on a real language model: a table a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.experiments.course import Record
from evals.experiments.experiment import Experiment, Results
from evals.experiments.pictures import draw_curves
from evals.experiments.real.course import RealCourse
from evals.experiments.real.tasks import TASKS
from evals.experiments.tables import Number, gain, markdown, mean, stepped
from evals.question_outcomes import Outcome, outcomes, shares
from evals.statistics import Interval, over_seeds
from rewards.answers.kinds import AnswerKinds

METHODS: Mapping[str, RealCourse] = {
    "random reward": RealCourse(reward="random"),
    "majority (TTRL)": RealCourse(reward="majority"),
    "DARE": RealCourse(reward="dare"),
    "soft majority (EMPO)": RealCourse(reward="soft_majority"),
    "self-certainty (INTUITOR)": RealCourse(reward="self_certainty"),
    "SCRL": RealCourse(reward="scrl"),
    "EVOL-RL": RealCourse(reward="evol_rl"),
    "TTRL-Guard": RealCourse(reward="ttrl_guard"),
    "SR-TTRL": RealCourse(reward="sr_ttrl"),
    "GRPO with labels": RealCourse(reward="ground_truth"),
}
BASE = "base"
_NONE = "-"
_NEARLY = 0.999
_TOO_WEAK, _TOO_STRONG = 0.02, 0.98


def real_experiment(
    sources: Mapping[str, str], tasks: Collection[str] = (), methods: Collection[str] = ()
) -> Experiment:
    """All methods, or these, on every task whose data are at hand, or on these; `sources` are files
    by task."""
    at_hand = [name for name, task in TASKS.items() if not task.column or name in sources]
    variants = {BASE: replace(RealCourse(), sources=sources)}
    for task in [name for name in at_hand if not tasks or name in tasks]:
        for label, course in METHODS.items():
            if not methods or label in methods:
                variants[f"{label}, {task}"] = replace(course, task=task, sources=sources)
    return Experiment("On a real language model", variants, _report)


def _report(results: Results, folder: Path) -> str:
    tasks = [name for name in TASKS if _methods(results, name)]
    parts = [_table(results, task) for task in tasks]
    absent = [name for name in TASKS if name not in tasks]
    absent += [label for label in METHODS if not any(label in _methods(results, t) for t in tasks)]
    if absent:
        parts.append(f"Not run: {', '.join(absent)} (`--source`, `--task`, `--method`).")
    _draw(results, tasks, folder)
    pictures = " ".join(
        f"![{task}](images/results/real-{task.replace(' ', '-')}.png)" for task in tasks
    )
    return "\n\n".join([*parts, pictures])


def _methods(results: Results, task: str) -> list[str]:
    """Those that were run on a task."""
    return [label for label in METHODS if f"{label}, {task}" in results]


def _table(results: Results, task: str) -> str:
    base = results[BASE]
    scores = {name: mean(base, _test(task, name)) for name in ("avg", "maj", "passed", "waves")}
    drawn = mean(base, _test(task, "drawn")).mean
    n = base[0]["tests"][task]["n"]
    rows = [
        [BASE, scores["avg"].percent(), _NONE, scores["maj"].percent(),
         scores["passed"].percent()],
        ["base, sampled again", *_again(base, task)],
        ["majority voting, no training", scores["maj"].percent()],
        [f"waves, no training ({drawn:.1f} rollouts)", scores["waves"].percent()],
        *(_row(label, results[f"{label}, {task}"], base, task)
          for label in _methods(results, task)),
    ]  # fmt: skip
    head = [
        "method", f"avg@{n}", "gain", f"maj@{n}", f"pass@{n}", "learnt / kept / corrupted / never",
        "majority flipped", "labels right, first → last half", "rewards right", "other tasks",
        "guards kept", "base's replies, nats lost", "tokens sampled", "failed",
    ]  # fmt: skip
    filled = [[*row, *[_NONE] * (len(head) - len(row))] for row in rows]
    told = f"#### {task}\n\n{markdown(head, filled)}"
    if scores["passed"].mean < _TOO_WEAK or scores["avg"].mean > _TOO_STRONG:
        word = "weak" if scores["passed"].mean < _TOO_WEAK else "strong"
        told += f"\n\nThe model is too {word} for this task: there is nothing to learn."
    return told


def _row(label: str, records: Sequence[Record], base: Sequence[Record], task: str) -> list[str]:
    avg = _test(task, "avg")
    signs = {sign for record in records for sign in record["collapse"]}
    signs |= {f"diverged ({record['diverged']})" for record in records if record["diverged"]}
    guards = [
        over_seeds([record["guard"][name] for record in records]) for name in ("kept", "likelihood")
    ]
    return [
        label, mean(records, avg).percent(), gain(records, base, avg).percent(signed=True),
        mean(records, _test(task, "maj")).percent(), mean(records, _test(task, "passed")).percent(),
        _fates(_tests(base, task), _tests(records, task)),
        _flipped(_tests(base, task), _tests(records, task), task), *_labels(records),
        _elsewhere(records, base, task), guards[0].percent(), _nats(guards[1]),
        f"{sum(record['tokens'] for record in records) / len(records):,.0f}",
        ", ".join(sorted(signs)) or "no",
    ]  # fmt: skip


def _again(base: Sequence[Record], task: str) -> list[str]:
    """What chance alone changes: the base on the same questions with other rollouts."""
    first, then = _tests(base, task), [record["again"][task] for record in base]
    rates = [over_seeds([test[name] for test in then]) for name in ("avg", "maj", "passed")]
    differences = [b["avg"] - a["avg"] for a, b in zip(first, then, strict=True)]
    return [
        rates[0].percent(), over_seeds(differences).percent(signed=True), rates[1].percent(),
        rates[2].percent(), _fates(first, then), _flipped(first, then, task),
    ]  # fmt: skip


def _labels(records: Sequence[Record]) -> list[str]:
    """How often the label is right, of the groups that have one, in the first half of the steps and
    the last; and how often rewards are, where every group has one."""
    records = [record for record in records if record["steps"]]  # not those that failed at once
    if not records:
        return [_NONE, _NONE]
    half = max(1, min(len(record["steps"]) for record in records) // 2)
    shares: list[str] = []
    labelled = 0.0
    for span in ((0, half), (-half, None)):
        labelled = mean(records, stepped("labelled", *span)).mean
        right = mean(records, stepped("label_accuracy", *span)).mean
        shares.append(f"{right / labelled:.0%}" if labelled else _NONE)
    if labelled == 0:
        return [_NONE, _NONE]
    some = "" if labelled > _NEARLY else f" of {labelled:.0%}"
    rewards = mean(records, stepped("reward_accuracy")).percent() if not some else _NONE
    return [f"{' → '.join(shares)}{some}", rewards]


def _nats(interval: Interval) -> str:
    return f"{interval.mean:+.2f} ({interval.low:.2f}..{interval.high:.2f})"


def _tests(records: Sequence[Record], task: str) -> list[Mapping[str, Any]]:
    return [record["tests"][task] for record in records]


def _test(task: str, name: str) -> Number:
    """A score of a task."""
    return lambda record: float(record["tests"][task][name])


def _fates(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> str:
    """Shares of the questions, means over seeds."""
    found = [
        shares(outcomes(_right(first), _right(then)))
        for first, then in zip(before, after, strict=True)
    ]
    return " / ".join(f"{sum(one[fate] for one in found) / len(found):.0%}" for fate in Outcome)


def _right(test: Mapping[str, Any]) -> dict[str, bool]:
    return {name: value > 0.5 for name, value in test["maj_of"].items()}


def _flipped(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], task: str
) -> str:
    """Share of the questions whose leading answer is another, of those that have one both times."""
    kind = AnswerKinds().of(TASKS[task].choice)
    same = [
        kind.same(answer, test["leading"][name])
        for first, test in zip(before, after, strict=True)
        for name, answer in first["leading"].items()
        if answer is not None and test["leading"][name] is not None
    ]
    return f"{1 - sum(same) / len(same):.0%}" if same else _NONE


def _elsewhere(records: Sequence[Record], base: Sequence[Record], task: str) -> str:
    """Change on the other tasks, on the questions that both were asked."""
    changes: list[float] = []
    for before, after in zip(base, records, strict=True):
        each: list[float] = []
        for name, found in after["tests"].items():
            if name != task:
                then, first = found["avg_of"], before["tests"][name]["avg_of"]
                each.append(sum(then[q] - first[q] for q in then) / len(then))
        if each:
            changes.append(sum(each) / len(each))
    return over_seeds(changes).percent(signed=True) if changes else _NONE


def _draw(results: Results, tasks: Sequence[str], folder: Path) -> None:
    """Rollouts right while learning, by update, on the questions that are learnt from, as far as
    all seeds came."""
    for task in tasks:
        curves: dict[str, tuple[Sequence[float], list[list[float]]]] = {}
        for label in _methods(results, task):
            seeds = [[step["avg"] for step in one["steps"]] for one in results[f"{label}, {task}"]]
            if shortest := min(map(len, seeds)):
                curves[label] = range(1, shortest + 1), [seed[:shortest] for seed in seeds]
        draw_curves(
            folder / f"real-{task.replace(' ', '-')}.png", curves, x="update",
            y="rollouts right, %", title=f"SmolLM2-135M: {task}",
        )  # fmt: skip
