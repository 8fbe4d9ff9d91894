"""The part of the results on a real language model: a table a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evals.experiments.course import Record
from evals.experiments.experiment import Experiment, Results
from evals.experiments.pictures import draw_curves
from evals.experiments.real.course import RealCourse
from evals.experiments.real.tasks import TASKS
from evals.experiments.tables import Number, gain, markdown, mean, stepped
from evals.question_outcomes import Outcome, outcomes, shares
from evals.statistics import over_seeds

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
    n = 16
    rows = [
        [BASE, scores["avg"].percent(), "", scores["maj"].percent(), scores["passed"].percent(),
         *[_NONE] * 7],
        ["majority voting, no training", scores["maj"].percent(), "", *[_NONE] * 9],
        [f"waves, no training ({drawn:.1f} rollouts)", scores["waves"].percent(), "",
         *[_NONE] * 9],
        *(_row(label, results[f"{label}, {task}"], base, task)
          for label in _methods(results, task)),
    ]  # fmt: skip
    head = [
        "method", f"avg@{n}", "gain", f"maj@{n}", f"pass@{n}", "learnt / kept / corrupted / never",
        "labels right, first → last half", "rewards right", "majority flipped", "other tasks",
        "guards kept, nats lost", "collapse",
    ]  # fmt: skip
    told = f"#### {task}\n\n{markdown(head, rows)}"
    if scores["passed"].mean < _TOO_WEAK or scores["avg"].mean > _TOO_STRONG:
        word = "weak" if scores["passed"].mean < _TOO_WEAK else "strong"
        told += f"\n\nThe model is too {word} for this task: there is nothing to learn."
    return told


def _row(label: str, records: Sequence[Record], base: Sequence[Record], task: str) -> list[str]:
    avg = _test(task, "avg")
    half = max(1, len(records[0]["steps"]) // 2)
    first, last = (
        mean(records, stepped("label_accuracy", *span)).percent()
        for span in ((0, half), (-half, None))
    )
    signs = sorted({sign for record in records for sign in record["collapse"]})
    return [
        label, mean(records, avg).percent(), gain(records, base, avg).percent(signed=True),
        mean(records, _test(task, "maj")).percent(), mean(records, _test(task, "passed")).percent(),
        _fates(records, base, task), f"{first} → {last}",
        mean(records, stepped("reward_accuracy")).percent(), f"{_flipped(records, base, task):.0%}",
        _elsewhere(records, base, task), _guards(records), ", ".join(signs) or "none",
    ]  # fmt: skip


def _test(task: str, name: str) -> Number:
    """A score of a task."""
    return lambda record: float(record["tests"][task][name])


def _fates(records: Sequence[Record], base: Sequence[Record], task: str) -> str:
    """Shares of the questions, means over seeds."""
    found = [
        shares(outcomes(_right(before, task), _right(after, task)))
        for before, after in zip(base, records, strict=True)
    ]
    return " / ".join(f"{sum(one[fate] for one in found) / len(found):.0%}" for fate in Outcome)


def _right(record: Record, task: str) -> dict[str, bool]:
    return {name: value > 0.5 for name, value in record["tests"][task]["maj_of"].items()}


def _flipped(records: Sequence[Record], base: Sequence[Record], task: str) -> float:
    """Share of the questions whose leading answer is another text than base's."""
    changed, seen = 0, 0
    for before, after in zip(base, records, strict=True):
        first, then = (one["tests"][task]["leading"] for one in (before, after))
        changed += sum(then[name] != answer for name, answer in first.items() if answer)
        seen += sum(bool(answer) for answer in first.values())
    return changed / max(1, seen)


def _elsewhere(records: Sequence[Record], base: Sequence[Record], task: str) -> str:
    """Change on the other tasks, on the questions that both were asked."""
    changes: list[float] = []
    for before, after in zip(base, records, strict=True):
        for name, found in after["tests"].items():
            if name != task:
                then, first = found["avg_of"], before["tests"][name]["avg_of"]
                changes.append(sum(then[q] - first[q] for q in then) / len(then))
    return f"{100 * sum(changes) / len(changes):+.1f}" if changes else _NONE


def _guards(records: Sequence[Record]) -> str:
    kept = over_seeds([record["guard"]["kept"] for record in records]).mean
    lost = over_seeds([record["guard"]["likelihood"] for record in records]).mean
    return f"{kept:.0%}, {lost:+.2f}"


def _draw(results: Results, tasks: Sequence[str], folder: Path) -> None:
    """Rollouts right while learning, by update."""
    for task in tasks:
        curves = {
            label: (
                range(1, len(records[0]["steps"]) + 1),
                [[step["avg"] for step in record["steps"]] for record in records],
            )
            for label in _methods(results, task)
            if (records := results[f"{label}, {task}"])
        }
        teacher = {"base maj@16": mean(results[BASE], _test(task, "maj")).mean}
        draw_curves(
            folder / f"real-{task.replace(' ', '-')}.png", curves, x="update",
            y="rollouts right, %", title=f"SmolLM2-135M: {task}", lines=teacher,
        )  # fmt: skip
