"""The report of the serving bench: figures, targets, tables and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from loadtests.serving_load import Reply

Figures = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By part, then by side."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one side. `cpu` is in seconds of the gateway, `recorded` in groups."""

    part: str
    side: str
    seconds: float
    replies: Sequence[Reply]
    _: KW_ONLY
    cpu: float | None = None
    recorded: int | None = None

    @property
    def answered(self) -> list[Reply]:
        """Replies that were good."""
        return [reply for reply in self.replies if not reply.failed]

    @property
    def rate(self) -> float:
        """Good replies a second."""
        return len(self.answered) / self.seconds

    def __str__(self) -> str:
        latency = _ms([reply.seconds for reply in self.answered], 50)
        return f"{self.part} {self.side}: {self.rate:.1f} requests/s, p50 {latency:.2f} ms"


@dataclass(frozen=True, slots=True)
class Soak:
    """Resident bytes of the server after so many requests."""

    requests: Sequence[int]
    rss: Sequence[int]

    def figures(self) -> dict[str, Any]:
        """After a tenth of the requests, and after all."""
        tenth = next(i for i, n in enumerate(self.requests) if n >= self.requests[-1] / 10)
        start, end = self.rss[tenth], self.rss[-1]
        return {
            "requests": self.requests[-1],
            "rss_tenth_mib": start / 2**20,
            "rss_end_mib": end / 2**20,
            "drift": end / start - 1,
        }


def figures(turns: Sequence[Turn]) -> dict[str, dict[str, dict[str, Any]]]:
    """Every part's figures by side; times in ms."""
    keys = dict.fromkeys((turn.part, turn.side) for turn in turns)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for part, side in keys:
        mine = [turn for turn in turns if (turn.part, turn.side) == (part, side)]
        found.setdefault(part, {})[side] = _summary(mine)
    return found


def _summary(turns: Sequence[Turn]) -> dict[str, Any]:
    replies = [reply for turn in turns for reply in turn.replies]
    good = [reply for reply in replies if not reply.failed]
    seconds = [reply.seconds for reply in good]
    firsts = [reply.to_first for reply in good if reply.first is not None]
    cpu, recorded = ([getattr(turn, name) for turn in turns] for name in ("cpu", "recorded"))
    return {
        "requests": len(replies),
        "failed": len(replies) - len(good),
        "requests_per_second": len(good) / sum(turn.seconds for turn in turns),
        "p50": _ms(seconds, 50),
        "p99": _ms(seconds, 99),
        "to_first_p50": _ms(firsts, 50) if firsts else None,
        "cpu_per_request": None if None in cpu else 1000 * sum(cpu) / max(1, len(replies)),
        "recorded": None if None in recorded else sum(recorded),
        "requests_per_second_by_round": [turn.rate for turn in turns],
        "p50_by_round": [_ms([r.seconds for r in turn.answered], 50) for turn in turns],
    }


@dataclass(frozen=True, slots=True)
class Target:
    """A bound and the measured value; None if a side is missing."""

    name: str
    bound: str
    found: float | None
    met: bool | None

    def row(self) -> str:
        """As a line of a Markdown table."""
        found = "-" if self.found is None else f"{self.found:.3g}"
        verdict = {True: "yes", False: "no", None: "-"}[self.met]
        return f"| {self.name} | {self.bound} | {found} | {verdict} |"


def targets(found: Figures, soak: Soak | None = None) -> list[Target]:
    """The bench's targets, with what was measured."""

    def get(part: str, side: str, key: str) -> float:
        return found[part][side][key]

    def ratio(part: str, key: str, side: str, other: str) -> Callable[[], float]:
        return lambda: get(part, side, key) / get(part, other, key)

    def added(part: str, key: str) -> Callable[[], float]:
        return lambda: get(part, "ratchet", key) - get(part, "direct", key)

    rate, cpu = "requests_per_second", "cpu_per_request"
    wanted: list[tuple[str, str, float, Callable[[], float]]] = [
        ("A requests/s, Ratchet / direct", ">=", 0.92, ratio("A", rate, "ratchet", "direct")),
        ("A added p50, ms", "<=", 3.0, added("A", "p50")),
        ("B CPU a request, Ratchet / LiteLLM", "<=", 1 / 8, ratio("B", cpu, "ratchet", "litellm")),
        ("B requests/s, Ratchet / LiteLLM", ">=", 8.0, ratio("B", rate, "ratchet", "litellm")),
        ("C added p50 to first text, ms", "<=", 2.0, added("C", "to_first_p50")),
        ("D p50, Ratchet / waiting for all", "<=", 0.6, ratio("D", "p50", "ratchet", "direct")),
        ("E CPU a request, ms", "<=", 15.0, lambda: get("E", "ratchet", cpu)),
    ]  # fmt: skip
    rows: list[Target] = []
    for name, sign, bound, value in wanted:
        if name[0] not in found:
            continue
        try:
            it = value()
        except KeyError:  # a side was left out
            rows.append(Target(name, f"{sign} {bound:g}", None, None))
            continue
        met = it <= bound if sign == "<=" else it >= bound
        rows.append(Target(name, f"{sign} {bound:g}", it, met))
    if soak is not None:
        drift = soak.figures()["drift"]
        rows.append(Target("F drift of resident memory", "< 0.02", drift, drift < 0.02))
    return rows


def tables(found: Figures, wanted: Sequence[Target]) -> str:
    """Figures and targets in Markdown."""
    lines = [
        "| part | side | requests | failed | requests/s | p50 | p99 | first text p50 "
        "| CPU a request | recorded |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for part, sides in found.items():
        for side, it in sides.items():
            first, cpu = (
                "-" if it[key] is None else f"{it[key]:.2f}"
                for key in ("to_first_p50", "cpu_per_request")
            )
            recorded = "-" if it["recorded"] is None else it["recorded"]
            lines.append(
                f"| {part} | {side} | {it['requests']} | {it['failed']} "
                f"| {it['requests_per_second']:.1f} | {it['p50']:.2f} | {it['p99']:.2f} "
                f"| {first} | {cpu} | {recorded} |"
            )
    lines += ["", "| target | bound | found | met |", "|---|---|---|---|"]
    lines += [target.row() for target in wanted]
    for part, sides in found.items():
        for it in sides.values():
            if it["recorded"] and it["recorded"] < it["requests"]:
                share = it["recorded"] / it["requests"]
                lines += ["", f"{part}: only {share:.1%} of the requests were recorded; the CPU of "
                          "recording the others is missing above."]  # fmt: skip
    return "\n".join(lines)


def plot(file: Path, turns: Sequence[Turn], titles: Mapping[str, str], soak: Soak | None) -> None:
    """A panel a part: what its target is about."""
    found = figures(turns)
    count = len(found) + (soak is not None)
    rows = (count + 2) // 3
    figure, axes = plt.subplots(
        rows, min(count, 3), figsize=(4.6 * min(count, 3), 3.6 * rows), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    panels = [panel for row in axes for panel in row]
    for panel, (part, sides) in zip(panels, found.items(), strict=False):
        panel.set_title(f"{part}: {titles[part]}")
        panel.grid(alpha=0.3)
        if part in "BE":
            shown = {k: v for k, v in sides.items() if v["cpu_per_request"] is not None}
            bars = panel.barh([*shown], [v["cpu_per_request"] for v in shown.values()])
            panel.bar_label(bars, fmt="%.2f", padding=3)
            panel.set(xlabel="CPU a request, ms")
            panel.margins(x=0.2)
            continue
        for side in sides:
            good = [r for t in turns if (t.part, t.side) == (part, side) for r in t.answered]
            values = np.sort([r.to_first if part == "C" else r.seconds for r in good])
            panel.step(1000 * values, np.arange(1, len(values) + 1) / len(values), label=side)
        panel.set(xscale="log", xlabel="to first text, ms" if part == "C" else "latency, ms")
        panel.set(ylabel="share of requests")
        panel.legend()
    if soak is not None:
        panels[len(found)].plot(soak.requests, [rss / 2**20 for rss in soak.rss])
        panels[len(found)].set(title="F: soak", xlabel="requests", ylabel="resident memory, MiB")
        panels[len(found)].grid(alpha=0.3)
    for panel in panels[count:]:
        panel.set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _ms(seconds: Sequence[float], percentile: float) -> float:
    return 1000 * float(np.percentile(seconds, percentile)) if len(seconds) else float("nan")
