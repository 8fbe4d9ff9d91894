"""An evaluation's report: numbers with intervals, by level, as JSON, Markdown and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from evals.evaluation import Graded
from evals.evaluation_run import EvaluationRun, RunInvalid
from evals.statistics import Interval, bootstrap, paired_gain, sign_flip_p

Number = Callable[[Graded], float]


def ks(n: int) -> list[int]:
    """1, 2, 4, ... and n."""
    return sorted({n, *(2**power for power in range(n.bit_length()) if 2**power <= n)})


def summary(graded: Sequence[Graded]) -> dict[str, Any]:
    """avg@n, maj@n and pass@k over questions with 95% bootstrap intervals, overall and by level."""
    n = len(graded[0].correct)
    lengths = [one.tokens for one in graded if not math.isnan(one.tokens)]
    found: dict[str, Any] = {
        "questions": len(graded),
        f"avg@{n}": _plain(bootstrap([one.avg for one in graded])),
        f"maj@{n}": _plain(bootstrap([one.maj for one in graded])),
        **{f"pass@{k}": _plain(bootstrap([one.passed(k) for one in graded])) for k in ks(n)},
        "answered": sum(a is not None for g in graded for a in g.answers) / (n * len(graded)),
        "tokens": sum(lengths) / len(lengths) if lengths else None,
    }
    levels = sorted({one.level for one in graded})
    if len(levels) > 1:
        found["levels"] = {
            level: summary([one for one in graded if one.level == level]) for level in levels
        }
    return found


def _plain(interval: Interval) -> list[float]:
    return [interval.mean, interval.low, interval.high]


def _cell(values: Sequence[float]) -> str:
    return Interval(*values).percent()


def markdown(meta: Mapping[str, Any], found: Mapping[str, Any], missing: int) -> str:
    """The report as a page."""
    n = meta["n"]
    names = [f"avg@{n}", f"maj@{n}", f"pass@{n}"]
    rows = [("all", found), *((f"level {k}", v) for k, v in found.get("levels", {}).items())]
    lines = [
        f"# {meta['dataset']}: {meta['model']}",
        "",
        f"{n} rollouts at T {meta['temperature']}, top-p {meta['top_p']}, up to "
        f"{meta['max_tokens']} tokens; 95% bootstrap intervals over questions.",
        *([f"**Not complete: {missing} questions are missing.**"] if missing else []),
        "",
        f"| | questions | {' | '.join(names)} | answered | tokens |",
        f"|{'---|' * (len(names) + 4)}",
        *(
            f"| {label} | {row['questions']} | {' | '.join(_cell(row[name]) for name in names)} | "
            f"{row['answered']:.1%} | {'-' if row['tokens'] is None else round(row['tokens'])} |"
            for label, row in rows
        ),
        "",
        "![accuracy](accuracy.png)",
        "",
    ]
    return "\n".join(lines)


def write_report(run: EvaluationRun, ids: Sequence[str]) -> str:
    """Put `result.json`, `report.md` and `accuracy.png` into the run's folder; returns the page."""
    graded = run.ordered(ids)
    found = summary(graded)
    missing = len(ids) - len(graded)
    result = {"run": run.meta, "missing": missing, **found}
    (run.folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    page = markdown(run.meta, found, missing)
    (run.folder / "report.md").write_text(page)
    _draw(run.folder / "accuracy.png", run.meta, found)
    return page


def _draw(file: Path, meta: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """pass@k over k with avg@n and maj@n as lines, and the levels beside it if there are any."""
    n, levels = meta["n"], found.get("levels", {})
    figure, both = plt.subplots(
        1, 2 if levels else 1, figsize=(10 if levels else 6, 4), layout="constrained", squeeze=False
    )
    left = both[0][0]
    at = ks(n)
    rows = [found[f"pass@{k}"] for k in at]
    left.plot(at, [100 * row[0] for row in rows], marker="o", label="pass@k", color="#0072b2")
    left.fill_between(
        at, [100 * r[1] for r in rows], [100 * r[2] for r in rows], alpha=0.15, color="#0072b2"
    )
    for name, colour in ((f"avg@{n}", "#d55e00"), (f"maj@{n}", "#009e73")):
        left.axhline(100 * found[name][0], linestyle="--", label=name, color=colour)
    left.set_xscale("log", base=2)
    left.set_xticks(at, [str(k) for k in at])
    left.set(xlabel="k", ylabel="%", title=str(meta["model"]))
    left.legend()
    if levels:
        right = both[0][1]
        for shift, name, colour in ((-0.2, f"avg@{n}", "#d55e00"), (0.2, f"maj@{n}", "#009e73")):
            values = [row[name] for row in levels.values()]
            right.bar(
                [i + shift for i in range(len(levels))], [100 * v[0] for v in values], 0.4,
                label=name, color=colour,
                yerr=[[100 * (v[0] - v[1]) for v in values], [100 * (v[2] - v[0]) for v in values]],
            )  # fmt: skip
        right.set_xticks(range(len(levels)), list(levels))
        right.set(xlabel="level", ylabel="%", title="by level")
        right.legend()
    for axes in both[0]:
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def gains(first: EvaluationRun, second: EvaluationRun) -> dict[str, Any]:
    """`second` less `first` on the questions that both have: gains with 95% intervals and paired
    sign-flip p values. Raises RunInvalid where they cannot be compared."""
    if first.meta["n"] != second.meta["n"]:
        raise RunInvalid(f"n differs: {first.meta['n']} and {second.meta['n']}")
    shared = [key for key in first.graded if key in second.graded]
    if not shared:
        raise RunInvalid("the two runs have no question in common: is it the same data set?")
    n = first.meta["n"]
    numbers: Mapping[str, Number] = {
        f"avg@{n}": lambda one: one.avg,
        f"maj@{n}": lambda one: one.maj,
        f"pass@{n}": lambda one: one.passed(n),
    }
    found: dict[str, Any] = {
        "questions": len(shared),
        "left_out": len(first.graded) + len(second.graded) - 2 * len(shared),
        "protocols_differ": [
            name
            for name in ("temperature", "top_p", "max_tokens")
            if first.meta[name] != second.meta[name]
        ],
    }
    for name, number in numbers.items():
        before = [number(first.graded[key]) for key in shared]
        after = [number(second.graded[key]) for key in shared]
        gain, (low, high) = paired_gain(before, after)
        found[name] = {
            "first": sum(before) / len(before), "second": sum(after) / len(after), "gain": gain,
            "ci95": [low, high], "p": sign_flip_p(before, after),
        }  # fmt: skip
    return found


def comparison_page(first: EvaluationRun, second: EvaluationRun, found: Mapping[str, Any]) -> str:
    """A comparison as a page."""
    rows = [
        f"| {name} | {100 * row['first']:.1f} | {100 * row['second']:.1f} | "
        f"{Interval(row['gain'], *row['ci95']).percent(signed=True)} | {row['p']:.4f} |"
        for name, row in found.items()
        if "@" in name
    ]
    differ = found["protocols_differ"]
    return "\n".join(
        [
            f"# {second.meta['model']} against {first.meta['model']}",
            "",
            f"{found['questions']} questions that both runs have"
            + (f"; {found['left_out']} are in one only" if found["left_out"] else "")
            + ".",
            *([f"**The runs differ in {', '.join(differ)}.**"] if differ else []),
            "",
            "| | first | second | gain, points (95% bootstrap) | p, paired sign flips |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def one_line(graded: Sequence[Graded]) -> str:
    """avg, maj and pass in a line."""
    n = len(graded[0].correct)
    means = plain_summary(graded)
    return "  ".join(f"{key}@{n} {100 * value:.1f}%" for key, value in means.items())


def plain_summary(graded: Sequence[Graded]) -> dict[str, float]:
    """avg, maj and pass over questions, without intervals."""
    n = len(graded[0].correct)
    count = len(graded)
    return {
        "avg": sum(one.avg for one in graded) / count,
        "maj": sum(one.maj for one in graded) / count,
        "pass": sum(one.passed(n) for one in graded) / count,
    }
