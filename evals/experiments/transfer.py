"""Out of distribution: learn from one family of questions, score on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evals.experiments.course import SETS, Record
from evals.experiments.experiment import BASE, DARE, TTRL, Experiment, Results
from evals.experiments.pictures import draw_matrix
from evals.experiments.tables import gain, markdown


def _on(family: str) -> Callable[[Record], float]:
    return lambda record: float(record["elsewhere"][family]["avg"])


def _matrix(results: Results, folder: Path) -> str:
    rows: list[list[str]] = []
    panels: dict[str, list[list[float]]] = {}
    for rival in ("TTRL", "DARE"):
        for source in SETS:
            gains = [
                gain(results[f"{rival}, {source}"], results[f"base, {source}"], _on(target))
                for target in SETS
            ]
            rows.append([rival, source, *(each.percent(signed=True) for each in gains)])
            panels.setdefault(rival, []).append([each.mean for each in gains])
    draw_matrix(
        folder / "transfer.png",
        panels,
        rows=list(SETS),
        columns=list(SETS),
        title="Gain in avg@16, points",
    )
    head = ["method", "learnt from", *(f"on {target}" for target in SETS)]
    return markdown(head, rows) + "\n\n![transfer](images/results/transfer.png)"


TRANSFER = Experiment(
    "Out of distribution",
    {
        f"{rival}, {source}": replace(course, family=family, levels=levels, elsewhere=True)
        for source, (family, levels) in SETS.items()
        for rival, course in {"base": BASE, "TTRL": TTRL, "DARE": DARE}.items()
    },
    _matrix,
)
