"""An adaptation's result: its numbers, a page of them, and pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from adapter.store.releases import AdapterRelease, ReleaseState
from evals.traffic import Reply

_WINDOW = 64
_FEWEST = 16  # a mean over fewer queries is noise


def release_numbers(
    releases: Sequence[AdapterRelease], first_answers: Mapping[int, float]
) -> dict[str, Any]:
    """How many releases were promoted and rejected, and how long promotions took: seconds from
    publishing to live, and to the first answer, of which `first_answers` has the time. Tokens: all
    that were drawn to judge, those of the rollouts that promoted versions were learnt from, and
    their ratio, None before the first."""
    promoted = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.RETIRED)]
    answered = [r for r in promoted if r.version in first_answers]
    judging = sum(
        r.numbers.get(f"{step}/tokens", 0.0) for r in releases for step in ("gate", "guards")
    )
    learnt = sum(r.metrics.get("completions/tokens", 0.0) for r in promoted)
    return {
        "versions": len(promoted),
        "rejected": sum(r.state is ReleaseState.REJECTED for r in releases),
        "parity_probed": sum("parity/to_trainer" in r.numbers for r in promoted),
        "judging_tokens": int(judging),
        "learnt_tokens": int(learnt),
        "judging_per_learnt": round(judging / learnt, 3) if learnt else None,
        "swap_seconds": _quantiles([r.numbers["seconds/total"] for r in promoted]),
        "first_answer_seconds": _quantiles(
            [first_answers[r.version] - r.created_at for r in answered]
        ),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Median and 99th percentile, None without values."""
    if not values:
        return {"p50": None, "p99": None}
    return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 99)}


def write_report(folder: Path, title: str, result: Mapping[str, Any], n: int = 16) -> str:
    """Put `result.json` and `report.md` into the folder; returns the page. Accuracies are those of
    n rollouts."""
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    page = _page(title, result, n)
    (folder / "report.md").write_text(page)
    return page


def _page(title: str, result: Mapping[str, Any], n: int) -> str:
    before, after = result["before"], result["after"]
    low, high = result["gain_ci95"]
    rows = [
        f"| {name} | {100 * before[key]:.1f}% | {100 * after[key]:.1f}% |"
        for name, key in ((f"{key}@{n}", key) for key in ("avg", "maj", "pass"))
    ]
    return "\n".join(
        [
            f"# {title}",
            "",
            "| | base | adapted |",
            "|---|---|---|",
            *rows,
            "",
            f"avg@{n} gained {100 * result['gain']:.1f} points "
            f"(95% interval {100 * low:.1f} to {100 * high:.1f}) over {result['versions']} "
            f"promoted versions ({result['rejected']} rejected, {result['parity_probed']} "
            f"parity-probed), {result['requests']} questions without labels, "
            f"{result['failed_requests']} failed.",
            "",
            f"Publish to live: median {result['swap_seconds']['p50']} s; to the first answer: "
            f"median {result['first_answer_seconds']['p50']} s. All in all "
            f"{result.get('seconds', 0):.0f} s, peak memory {result['peak_rss_mb']} MB.",
            "",
            "![accuracy](accuracy.png) ![agreement](agreement.png) "
            "![reward accuracy](reward_accuracy.png)",
            "",
        ]
    )


def plot_accuracy(
    file: Path,
    points: Sequence[tuple[int, float]],
    *,
    before: Mapping[str, float],
    after: Mapping[str, float],
    after_version: int,
    looked_at: str,
) -> None:
    """Accuracy over versions: of all questions before and after, with what voting made of the base
    as the line to pass, and at `points` of those that were `looked_at` meanwhile."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    ends = [0, after_version]
    axes.plot(*_percent(points), color="C0", alpha=0.5, marker=".", label=f"avg, {looked_at}")
    for name, marker, colour, label in (("avg", "o", "C0", "avg"), ("maj", "^", "C2", "voted")):
        found = [100 * before[name], 100 * after[name]]
        axes.plot(ends, found, marker=marker, color=colour, linestyle="", label=f"{label}, all")
    axes.axhline(100 * before["maj"], linestyle="--", color="grey", label="base, voted")
    axes.set(xlabel="policy version", ylabel="accuracy, %", title="Accuracy, learnt without labels")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _percent(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [version for version, _ in points], [100 * value for _, value in points]


def plot_replies(file: Path, replies: Sequence[Reply], name: str, title: str) -> None:
    """Rolling mean of one field of the replies over time, versions marked."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    start = replies[0].at if replies else 0.0
    seconds = [reply.at - start for reply in replies]
    values = [100 * float(getattr(reply, name)) for reply in replies]
    windows = [values[max(0, end - _WINDOW) : end] for end in range(1, len(values) + 1)]
    rolling = [sum(window) / len(window) for window in windows]
    firsts = {reply.version: reply.at for reply in reversed(replies)}
    for at in firsts.values():
        axes.axvline(at - start, color="C1", alpha=0.25, linewidth=1)
    axes.plot(seconds[_FEWEST:], rolling[_FEWEST:])
    axes.set(xlabel="seconds", ylabel="%", title=f"{title} (last {_WINDOW} queries)")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)
