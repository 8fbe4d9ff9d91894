"""What the DARE paper leaves open: its thresholds, and what its entropies cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evals.experiments.experiment import BASE, DARE, TTRL, Experiment, Results
from evals.experiments.tables import (
    accuracies,
    gain,
    markdown,
    scored,
    stepped,
    values,
    verdict,
)


def _options(results: Results, folder: Path) -> str:
    rows: list[list[str]] = []
    for label, records in results.items():
        if label == "base":
            continue
        against = gain(records, results["defaults"], scored("avg"))
        rows.append(
            [
                label, *accuracies(records),
                gain(records, results["base"], scored("avg")).percent(signed=True),
                against.percent(signed=True) if label != "defaults" else "",
                verdict(against) if label != "defaults" else "",
            ]
        )  # fmt: skip
    head = ["option", "avg@16", "maj@16", "gain over base", "less defaults", "is"]
    return markdown(head, rows)


def _cost(results: Results, folder: Path) -> str:
    rows: list[list[str]] = []
    for label, records in results.items():
        if label == "base":
            continue
        share = sum(values(records, stepped("seconds/reward"))) / sum(
            values(records, stepped("seconds/update"))
        )
        gained = gain(records, results["base"], scored("avg"))
        steps = len(records[0]["steps"]) * (1 + share) / max(100 * gained.mean, 1e-9)
        rows.append(
            [
                label, *accuracies(records), gained.percent(signed=True), f"{share:.0%}",
                f"{steps:.2f}" if gained.low > 0 else "-",
            ]
        )  # fmt: skip
    head = [
        "rewards", "avg@16", "maj@16", "gain over base", "seconds for rewards / for gradient steps",
        "gradient steps' worth of time a point gained",
    ]  # fmt: skip
    return markdown(head, rows)


OPTIONS = Experiment(
    "DARE's thresholds",
    {
        "base": BASE,
        "defaults": DARE,
        **{
            option.replace("=", " "): replace(DARE, options=option)
            for option in (
                "tau=0", "tau=0.1", "tau=0.25", "alpha=0", "alpha=0.5", "alpha=1", "eps=0.001",
                "eps=0.5", "normalise=rollouts", "pruned=drop",
            )
        },
    },
    _options,
)  # fmt: skip
ENTROPY = Experiment(
    "What entropies cost",
    {
        "base": BASE,
        "TTRL, none": TTRL,
        "DARE, exact": DARE,
        "DARE, top-5": replace(DARE, options="entropy=topk"),
    },
    _cost,
)
