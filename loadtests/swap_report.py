"""What a run of the swap bench found: figures, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from loadtests.swap_load import Reply

FAULTS = {
    "failed": "failed",
    "mixed_answer": "versions mixed within an answer",
    "mixed_rollouts": "rollouts of different versions",
    "misnamed": "of another version than named",
}


@dataclass(frozen=True, slots=True)
class Swap:
    """When a version was published (or the swap called for), and when new requests went to it."""

    version: int
    asked: float
    live: float


@dataclass(frozen=True, slots=True)
class Phase:
    """One turn of one policy."""

    policy: str
    seconds: float
    replies: Sequence[Reply]
    swaps: Sequence[Swap]

    def to_live(self) -> list[float]:
        """Seconds of each swap until new requests went to the new version."""
        return [swap.live - swap.asked for swap in self.swaps]

    def to_reply(self) -> list[float]:
        """Seconds of each swap until the first reply came from the new version, or a later one."""
        firsts = [
            min(
                (r.received for r in self.replies if (r.version or 0) >= swap.version), default=None
            )
            for swap in self.swaps
        ]
        return [
            first - swap.asked
            for first, swap in zip(firsts, self.swaps, strict=True)
            if first is not None
        ]

    def __str__(self) -> str:
        answered = [reply.seconds for reply in self.replies if not reply.failed]
        failed = len(self.replies) - len(answered)
        return (
            f"{self.policy}: {len(self.replies)} requests, {failed} failed, "
            f"p50 {_ms(answered, 50):.0f} ms, p99 {_ms(answered, 99):.0f} ms"
        )


def summary(policy: str, phases: Sequence[Phase], baseline: str) -> dict[str, Any]:
    """Figures of one policy over all its turns; times in ms, latencies of answered requests."""
    mine = [phase for phase in phases if phase.policy == policy]
    replies = [reply for phase in mine for reply in phase.replies]
    to_live = [seconds for phase in mine for seconds in phase.to_live()]
    to_reply = [seconds for phase in mine for seconds in phase.to_reply()]
    latency, still = latencies(policy, phases), latencies(baseline, phases)
    by_round = [
        _ms(latencies(policy, [phase]), 99) / _ms(latencies(baseline, [other]), 99)
        for phase, other in zip(
            mine, [phase for phase in phases if phase.policy == baseline], strict=True
        )
    ]
    return {
        "swaps": len(to_live),
        "requests": len(replies),
        **{fault: sum(getattr(reply, fault) for reply in replies) for fault in FAULTS},
        "requests_per_second": len(replies) / sum(phase.seconds for phase in mine),
        "p50": _ms(latency, 50),
        "p99": _ms(latency, 99),
        "p99_ratio": _ms(latency, 99) / _ms(still, 99),
        "p99_ratio_by_round": by_round,
        "to_live": [_ms(to_live, q) for q in (50, 99)] if to_live else None,
        "to_reply": [_ms(to_reply, q) for q in (50, 99)] if to_reply else None,
    }


def latencies(policy: str, phases: Sequence[Phase]) -> list[float]:
    """Seconds of every answered request under a policy."""
    return [
        reply.seconds
        for phase in phases
        if phase.policy == policy
        for reply in phase.replies
        if not reply.failed
    ]


def table(policies: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| policy | requests | failed | mixed answers | mixed rollouts | misnamed | p50 | p99 "
        "| p99 / no swaps | to live p50 / p99 | to first reply p50 / p99 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, it in policies.items():
        swaps = [
            " / ".join(f"{value:.0f}" for value in it[key]) if it[key] else "-"
            for key in ("to_live", "to_reply")
        ]
        lines.append(
            f"| {name} | {it['requests']} | {it['failed']} | {it['mixed_answer']} "
            f"| {it['mixed_rollouts']} | {it['misnamed']} | {it['p50']:.0f} | {it['p99']:.0f} "
            f"| {it['p99_ratio']:.2f} | {swaps[0]} | {swaps[1]} |"
        )
    return "\n".join(lines)


def plot(file: Path, phases: Sequence[Phase], policies: Sequence[str]) -> None:
    """Tails of latency, and the share of requests that went wrong in each way."""
    figure, (tails, faults) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for policy in policies:
        values = np.sort(latencies(policy, phases))
        slower = 1 - np.arange(len(values)) / len(values)
        tails.step(1000 * values, 100 * slower, label=policy, where="post")
    tails.set(
        yscale="log", xlabel="latency, ms", ylabel="requests that took longer, %", title="Latency"
    )
    tails.yaxis.set_major_formatter("{x:g}")
    tails.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    tails.grid(alpha=0.3, which="both")
    tails.legend()
    left = np.zeros(len(policies))
    for fault, label in FAULTS.items():
        found = [[r for p in phases if p.policy == name for r in p.replies] for name in policies]
        shares = [100 * np.mean([getattr(r, fault) for r in rows]) for rows in found]
        faults.barh(policies, shares, left=left, label=label)
        left += shares
    faults.invert_yaxis()
    faults.set(xlabel="requests, %", title="What went wrong", xlim=(0, None))
    faults.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    faults.grid(alpha=0.3, axis="x")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _ms(seconds: Sequence[float], percentile: float) -> float:
    return 1000 * float(np.percentile(seconds, percentile)) if len(seconds) else float("nan")
