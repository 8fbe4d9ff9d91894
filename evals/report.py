"""An adaptation's result in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Median and 99th percentile, None without values."""
    if not values:
        return {"p50": None, "p99": None}
    return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 99)}


def report(title: str, result: dict[str, Any], n: int = 16) -> str:
    """A Markdown page from the content of `result.json`; accuracies are those of n rollouts."""
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
