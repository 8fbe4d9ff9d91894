"""The same learning under other conditions: correlated rollouts, other sampling, other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evals.experiments.course import Course
from evals.experiments.experiment import BASE, DARE, LABELLED, TTRL, Experiment, Results
from evals.experiments.pictures import draw_curves
from evals.experiments.tables import (
    accuracies,
    gain,
    learning_seconds,
    markdown,
    mean,
    scored,
    stepped,
    verdict,
)

_RIVALS = {"TTRL": TTRL, "DARE": DARE}

DECODINGS: Mapping[str, Mapping[str, float | int]] = {
    "T 1": {},
    "T 0.7, top-p 0.95": {"temperature": 0.7, "top_p": 0.95},
    "T 0.5, top-p 0.9": {"temperature": 0.5, "top_p": 0.9},
    "T 1, 3 shared tokens": {"shared": 3},
    "T 1, 6 shared tokens": {"shared": 6},
}


def _correlation(results: Results, folder: Path) -> str:
    base = results["base"]
    rows: list[list[str]] = []
    points: dict[str, tuple[list[float], list[list[float]]]] = {}
    for decoding in DECODINGS:
        row = [decoding]
        for rival in _RIVALS:
            records = results[f"{rival}, {decoding}"]
            overlap = mean(records, stepped("correlation", 0, 1)).mean
            gained = gain(records, base, scored("avg"))
            row += [f"{overlap:.2f}"] if rival == "TTRL" else []
            row += [mean(records, scored("avg")).percent(), gained.percent(signed=True)]
            xs, ys = points.setdefault(rival, ([], []))
            xs.append(overlap)
            ys.append([float(record["scores"]["0"]["avg"]) for record in records])
        between = gain(results[f"DARE, {decoding}"], results[f"TTRL, {decoding}"], scored("avg"))
        rows.append([*row, between.percent(signed=True), verdict(between)])
    curves = {
        rival: (
            sorted(xs),
            [
                list(seed)
                for seed in zip(*(y for _, y in sorted(zip(xs, ys, strict=True))), strict=True)
            ],
        )
        for rival, (xs, ys) in points.items()
    }
    draw_curves(
        folder / "correlation.png",
        curves,
        x="rollout correlation (token overlap) at the start",
        y="avg@16 after learning, %",
        title="Correlated rollouts",
        lines={"base avg@16": mean(base, scored("avg")).mean},
    )
    head = [
        "rollouts", "correlation", "TTRL avg@16", "gain", "DARE avg@16", "gain", "DARE less TTRL",
        "DARE is",
    ]  # fmt: skip
    return markdown(head, rows) + "\n\n![correlation](images/results/correlation.png)"


def plain(results: Results, folder: Path) -> str:
    """A row a course, against the course called `base` (or, of another base, `base, NAME`)."""
    rows: list[list[str]] = []
    for label, records in results.items():
        _, _, kind = label.rpartition(", ")
        base = results.get(f"base, {kind}", results.get("base", records))
        gained = gain(records, base, scored("avg")) if base is not records else None
        over = gain(records, base, scored("avg"), scored("maj"))
        rows.append(
            [
                label, *accuracies(records),
                gained.percent(signed=True) if gained else "",
                over.percent(signed=True) if gained else "",
            ]
        )  # fmt: skip
    return markdown(["course", "avg@16", "maj@16", "gain", "less base maj@16"], rows)


def _rows(results: Results, folder: Path) -> str:
    """As `plain`, with the seconds of learning."""
    rows: list[list[str]] = []
    for label, records in results.items():
        if label == "base":
            continue
        rows.append(
            [
                label, *accuracies(records),
                gain(records, results["base"], scored("avg")).percent(signed=True),
                f"{mean(records, learning_seconds).mean:.1f}",
            ]
        )  # fmt: skip
    head = ["course", "avg@16", "maj@16", "gain over base", "seconds of learning"]
    return markdown(head, rows)


CORRELATION = Experiment(
    "Correlated rollouts",
    {
        "base": BASE,
        **{
            f"{rival}, {decoding}": replace(course, **changes)
            for decoding, changes in DECODINGS.items()
            for rival, course in _RIVALS.items()
        },
    },
    _correlation,
)
SAMPLING = Experiment(
    "Temperature and number of rollouts",
    {
        "base": BASE,
        "TTRL, T 0.6": replace(TTRL, temperature=0.6),
        "TTRL, T 1, 32 rollouts": TTRL,
        "TTRL, T 1.2": replace(TTRL, temperature=1.2),
        "TTRL, 8 rollouts": replace(TTRL, rollouts=8),
        "TTRL, 16 rollouts": replace(TTRL, rollouts=16),
        "TTRL, 64 rollouts": replace(TTRL, rollouts=64),
    },
    _rows,
)
RATES = Experiment(
    "Learning rate",
    {
        "base": BASE,
        **{
            f"{label}, {rate:g}": replace(course, learning_rate=rate)
            for rate in (5e-4, 1e-3)
            for label, course in {**_RIVALS, "GRPO with labels": LABELLED}.items()
        },
    },
    _rows,
)
_SMALL = {"questions": 32}
EPOCHS = Experiment(
    "Streaming against epochs",
    {
        "base": BASE,
        "TTRL, 160 questions, 1.5 epochs": TTRL,
        "TTRL, 240 other questions, once each": replace(TTRL, train_on="stream"),
        "DARE, 160 questions, 1.5 epochs": DARE,
        "DARE, 240 other questions, once each": replace(DARE, train_on="stream"),
        "base, 32 questions": replace(BASE, **_SMALL),
        "TTRL, 7.5 epochs, 32 questions": replace(TTRL, **_SMALL),
        "DARE, 7.5 epochs, 32 questions": replace(DARE, **_SMALL),
    },
    plain,
)
RANK = Experiment(
    "LoRA rank",
    {
        "base": BASE,
        **{f"TTRL, rank {rank}": replace(TTRL, lora_rank=rank) for rank in (1, 4, 16, 64)},
    },
    _rows,
)


def _of_bases(names: Mapping[str, str]) -> dict[str, Course]:
    return {
        f"{label}, {title}": replace(course, model=model)
        for model, title in names.items()
        for label, course in {"base": BASE, **_RIVALS}.items()
    }


PRIOR = Experiment("A base without prior knowledge", _of_bases({"ignorant": "ignorant"}), plain)
ARCHITECTURES = Experiment(
    "Other architectures",
    _of_bases({"qwen2": "Qwen2", "llama": "Llama", "qwen3": "Qwen3"}),
    plain,
)
