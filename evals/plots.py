"""An adaptation's pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from evals.adaptation import Reply

_WINDOW = 64
_FEWEST = 16  # a mean over fewer queries is noise


def plot_accuracy(
    file: Path, points: Sequence[tuple[int, float]], before: dict[str, float], after_version: int,
    after: dict[str, float],
) -> None:  # fmt: skip
    """Accuracy over versions, with the base's maj@16 as the line to pass."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    versions = [0, *(version for version, _ in points), after_version]
    values = [before["avg"], *(value for _, value in points), after["avg"]]
    axes.plot(versions, [100 * value for value in values], marker="o", label="avg")
    axes.axhline(100 * before["maj"], linestyle="--", color="grey", label="base maj@16")
    axes.scatter(
        [after_version], [100 * after["maj"]], marker="^", color="C2", label="maj@16 after"
    )
    axes.set(xlabel="policy version", ylabel="accuracy, %", title="Accuracy, learnt without labels")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def plot_replies(file: Path, replies: Sequence[Reply], name: str, title: str) -> None:
    """Rolling mean of one field of the replies over time, versions marked."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    start = replies[0].at if replies else 0.0
    seconds = [reply.at - start for reply in replies]
    values = [100 * float(getattr(reply, name)) for reply in replies]
    rolling = [
        sum(values[max(0, i + 1 - _WINDOW) : i + 1]) / len(values[max(0, i + 1 - _WINDOW) : i + 1])
        for i in range(len(values))
    ]
    seen: set[int] = set()
    for reply in replies:
        if reply.version not in seen:
            seen.add(reply.version)
            axes.axvline(reply.at - start, color="C1", alpha=0.25, linewidth=1)
    axes.plot(seconds[_FEWEST:], rolling[_FEWEST:])
    axes.set(xlabel="seconds", ylabel="%", title=f"{title} (last {_WINDOW} queries)")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)
