"""Line pictures of records: means over seeds with their 95% intervals as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from evals.statistics import over_seeds

Curves = Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
"""By label: x, and for every seed the y at each x, as shares."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#f0e442",
            "#7f7f7f", "#8c564b")  # fmt: skip


def draw_curves(
    file: Path,
    curves: Curves,
    *,
    x: str,
    y: str,
    title: str,
    lines: Mapping[str, float] | None = None,
) -> None:
    """A line and a band a label; `lines` are horizontal, dashed, labelled."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for (label, (xs, seeds)), colour in zip(curves.items(), _COLOURS[: len(curves)], strict=True):
        intervals = [over_seeds(at) for at in zip(*seeds, strict=True)]
        axes.plot(xs, [100 * i.mean for i in intervals], label=label, color=colour, marker=".")
        axes.fill_between(
            xs, [100 * i.low for i in intervals], [100 * i.high for i in intervals], alpha=0.15,
            color=colour, linewidth=0,
        )  # fmt: skip
    for (label, value), style in zip((lines or {}).items(), ("--", ":"), strict=False):
        axes.axhline(100 * value, linestyle=style, color="grey", label=label)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.set_ylim(top=min(axes.get_ylim()[1], 102))  # an interval may reach further, a share cannot
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, file)


def draw_matrix(
    file: Path,
    panels: Mapping[str, Any],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> None:
    """Gains in points of a hundred, a panel a label, each [rows, columns] of shares."""
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(5.2 * len(panels), 4.4), layout="constrained", squeeze=False
    )
    largest = max(abs(100 * v) for panel in panels.values() for row in panel for v in row) or 1.0
    for axes, (label, panel) in zip(all_axes[0], panels.items(), strict=True):
        axes.imshow(
            [[100 * v for v in row] for row in panel], cmap="PuOr_r", vmin=-largest, vmax=largest
        )
        for i, row in enumerate(panel):
            for j, value in enumerate(row):
                loud = abs(100 * value) > 0.6 * largest
                axes.text(
                    j, i, f"{100 * value:+.0f}", ha="center", va="center",
                    color="white" if loud else "black",
                )  # fmt: skip
        axes.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel="scored on", ylabel="learnt from", title=label)
    figure.suptitle(title)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    plt.close(figure)
