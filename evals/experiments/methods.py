"""The table of methods, and further views of the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evals.arithmetic.questions import LEVELS
from evals.experiments.course import Course, Record
from evals.experiments.experiment import BASE, DARE, LABELLED, TTRL, Experiment, Results
from evals.experiments.pictures import draw_curves
from evals.experiments.tables import (
    Number,
    accuracies,
    gain,
    learning_seconds,
    markdown,
    mean,
    scored,
    stepped,
    verdict,
)
from evals.statistics import over_seeds

TARGET = 0.80
_BIN = 3  # updates to a point of a picture

LABEL_FREE = {
    "TTRL": TTRL,
    "DARE": DARE,
    "soft majority (EMPO)": Course(reward="soft_majority"),
    "SCRL": Course(reward="scrl"),
    "INTUITOR": Course(reward="self_certainty"),
    "RLPR, majority as reference": Course(reward="rlpr"),
    "CO-REWARDING-I": Course(reward="co_reward"),
}
WITH_LABELS = {
    "GRPO": LABELLED,
    "REINFORCE": replace(LABELLED, advantage="reinforce", loss="reinforce"),
    "REINFORCE++": replace(LABELLED, advantage="reinforce_pp"),
    "GRPO on the test set itself": replace(LABELLED, train_on="test"),
}
_PUBLISHED = {
    "base": "32.7", "TTRL": "73.0", "DARE": "73.6", "INTUITOR": "70.0",
    "RLPR, majority as reference": "73.2", "CO-REWARDING-I": "72.5", "GRPO": "72.8",
    "REINFORCE": "72.0", "REINFORCE++": "72.8",
}  # fmt: skip


def _table(results: Results, folder: Path) -> str:
    base = results["base"]
    avg, maj = scored("avg"), scored("maj")

    def row(label: str, kind: str) -> list[str]:
        records = results[label]
        over = gain(records, base, avg, maj)
        rival = gain(records, results["TTRL"], avg).percent(signed=True)
        return [
            label, kind, *accuracies(records),
            gain(records, base, avg).percent(signed=True), over.percent(signed=True), verdict(over),
            rival if label != "TTRL" else "",
            f"{mean(records, learning_seconds).mean:.1f}", _PUBLISHED.get(label, ""),
        ]  # fmt: skip

    vote = mean(base, maj).percent()
    rows = [
        ["base", "none", mean(base, avg).percent(), vote, *[""] * 5, _PUBLISHED["base"]],
        ["majority voting, no training", "none", vote, vote, *[""] * 6],
        *(row(label, "none") for label in LABEL_FREE),
        *(row(label, "true") for label in WITH_LABELS),
    ]
    head = [
        "method", "labels", "avg@16", "maj@16", "gain over base avg@16", "avg@16 less base maj@16",
        "its own teacher", "avg@16 less TTRL's", "seconds of learning", "published, MATH-500*",
    ]  # fmt: skip
    return markdown(head, rows)


def _by_level(results: Results, folder: Path) -> str:
    rows: list[list[str]] = []
    for level in LEVELS:
        base = results["base"]
        avg, tokens = scored("avg", level), scored("tokens", level)
        row = [f"L{level}", mean(base, avg).percent()]
        for label in ("TTRL", "DARE"):
            row += [
                mean(results[label], avg).percent(),
                gain(results[label], base, avg).percent(signed=True),
            ]
        row += [f"{mean(results[label], tokens).mean:.1f}" for label in ("base", "TTRL", "DARE")]
        rows.append(row)
    head = [
        "level", "base", "TTRL", "gain", "DARE", "gain", "tokens: base", "TTRL", "DARE"
    ]  # fmt: skip
    return markdown(head, rows)


def _lucky(results: Results, folder: Path) -> str:
    for label in ("TTRL", "DARE"):
        records = results[label]
        ends = range(_BIN, len(records[0]["steps"]) + 1, _BIN) or range(1, 2)
        draw_curves(
            folder / f"rewards-{label.lower()}.png",
            {
                title: (
                    ends,
                    [[stepped(name, end - _BIN, end)(one) for end in ends] for one in records],
                )
                for name, title in (
                    ("reward_accuracy", "reward accuracy"), ("label_accuracy", "label accuracy"),
                    ("agreement", "agreement"), ("avg", "rollouts right, T 1"),
                )
            },
            x="update (means of 3)", y="%", title=f"{label}: rewards and labels while learning",
        )  # fmt: skip
    rows: list[list[str]] = []
    for label in ("TTRL", "DARE"):
        records = results[label]
        for part, (first, last) in {"first 5 updates": (0, 5), "last 5": (-5, None)}.items():
            label_right = stepped("label_accuracy", first, last)
            reward_right = stepped("reward_accuracy", first, last)
            rows.append(
                [
                    label, part, mean(records, stepped("avg", first, last)).percent(),
                    mean(records, label_right).percent(), mean(records, reward_right).percent(),
                    gain(records, records, reward_right, label_right).percent(signed=True),
                ]
            )  # fmt: skip
    head = [
        "method", "when", "rollouts right", "label accuracy", "reward accuracy", "difference"
    ]  # fmt: skip
    return (
        markdown(head, rows)
        + "\n\n![TTRL](images/results/rewards-ttrl.png) ![DARE](images/results/rewards-dare.png)"
    )


def _crossing(record: Record, base: Record) -> float | None:
    """The update at which the test set's accuracy reaches TARGET, interpolated between scores."""
    before, value = 0, float(base["scores"]["0"]["avg"])
    for update, avg, _ in record["curve"]:
        if avg >= TARGET:
            share = (TARGET - value) / (avg - value) if avg > value else 0.0
            return before + share * (update - before)
        before, value = update, avg
    return None


def _speed(results: Results, folder: Path) -> str:
    base = results["base"]
    curves = {
        label: (
            [0, *(point[0] for point in records[0]["curve"])],
            [
                [first["scores"]["0"]["avg"], *(point[1] for point in record["curve"])]
                for record, first in zip(records, base, strict=True)
            ],
        )
        for label, records in results.items()
        if label != "base"
    }
    teacher = mean(base, scored("maj")).mean
    draw_curves(
        folder / "curves.png",
        curves,
        x="update",
        y="avg on the test set, %",
        title="Learning from a test set",
        lines={"base maj@16": teacher, "target": TARGET},
    )
    found = {
        label: [_crossing(record, first) for record, first in zip(records, base, strict=True)]
        for label, records in results.items()
        if label != "base"
    }
    rows: list[list[str]] = []
    for label, updates in found.items():
        each = [learning_seconds(record) / len(record["steps"]) for record in results[label]]
        seconds = [u and u * s for u, s in zip(updates, each, strict=True)]
        sooner = [
            None if mine is None or theirs is None else mine - theirs
            for mine, theirs in zip(updates, found["TTRL"], strict=True)
        ]
        rows.append(
            [
                label, f"{sum(u is not None for u in updates)} of {len(updates)}",
                _numbers(updates), _numbers(seconds), "" if label == "TTRL" else _numbers(sooner),
            ]
        )  # fmt: skip
    head = [
        "method", "seeds that reach 80%", "updates to 80%", "seconds to 80%", "updates less TTRL's"
    ]  # fmt: skip
    return markdown(head, rows) + "\n\n![curves](images/results/curves.png)"


def _numbers(found: Sequence[float | None]) -> str:
    """Mean and interval over the seeds that reach it."""
    reached = [value for value in found if value is not None]
    if len(reached) < 2:
        return ", ".join(f"{value:.1f}" for value in reached) or "never"
    interval = over_seeds(reached)
    return f"{interval.mean:.1f} ({interval.low:.1f}..{interval.high:.1f})"


def _doubts(results: Results, folder: Path) -> str:
    rows: list[list[str]] = []
    for label in ("TTRL", "DARE"):
        for part, (first, last) in {"first 10 updates": (0, 10), "last 10": (-10, None)}.items():

            def share(name: str, span: tuple[int, int | None] = (first, last)) -> Number:
                return stepped(name, *span)

            for case in ("confidently_wrong", "uncertainly_right"):
                records = results[label]
                often = mean(records, share(case))
                vote, dare = (mean(records, share(f"{who}/{case}")) for who in ("vote", "dare"))
                rows.append(
                    [
                        label, part, case.replace("_", " "), often.percent(),
                        _of(vote.mean, often.mean), _of(dare.mean, often.mean),
                    ]
                )  # fmt: skip
    head = [
        "learnt with", "when", "case", "share of questions", "vote right there", "DARE right there"
    ]  # fmt: skip
    return markdown(head, rows)


def _of(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


_PAIR = {"base": BASE, "TTRL": TTRL, "DARE": DARE}

METHODS = Experiment("Methods", {"base": BASE, **LABEL_FREE, **WITH_LABELS}, _table)
LEVELS_EXPERIMENT = Experiment("Difficulty and length", _PAIR, _by_level)
LUCKY_HIT = Experiment("Reward accuracy and label accuracy", _PAIR, _lucky)
SPEED = Experiment(
    "Updates and seconds to 80%",
    {**_PAIR, "soft majority": LABEL_FREE["soft majority (EMPO)"], "GRPO, labels": LABELLED},
    _speed,
)
DOUBTS = Experiment("Confidently wrong, uncertainly right", _PAIR, _doubts)
