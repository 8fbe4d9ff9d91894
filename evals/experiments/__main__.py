"""Runs experiments and writes their sections: `python -m evals.experiments NAME... [--write]`."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.experiments.conditions import (
    ARCHITECTURES,
    CORRELATION,
    EPOCHS,
    PRIOR,
    RANK,
    RATES,
    SAMPLING,
)
from evals.experiments.dare_options import ENTROPY, OPTIONS
from evals.experiments.experiment import Bench, Experiment
from evals.experiments.methods import DOUBTS, LEVELS_EXPERIMENT, LUCKY_HIT, METHODS, SPEED
from evals.experiments.models import make_missing
from evals.experiments.page import section, written
from evals.experiments.real.report import METHODS as REAL_METHODS
from evals.experiments.real.report import real_experiment
from evals.experiments.real.tasks import TASKS
from evals.experiments.runs import Records
from evals.experiments.transfer import TRANSFER
from evals.items import DatasetInvalid

EXPERIMENTS: Mapping[str, Experiment] = {
    "methods": METHODS,
    "levels": LEVELS_EXPERIMENT,
    "lucky-hit": LUCKY_HIT,
    "speed": SPEED,
    "doubts": DOUBTS,
    "entropy": ENTROPY,
    "prior": PRIOR,
    "transfer": TRANSFER,
    "correlation": CORRELATION,
    "sampling": SAMPLING,
    "epochs": EPOCHS,
    "rank": RANK,
    "learning-rate": RATES,
    "dare-options": OPTIONS,
    "architectures": ARCHITECTURES,
    "real": real_experiment({}),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run missing courses, then print or write the sections."""
    parser = argparse.ArgumentParser(prog="python -m evals.experiments", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; all"
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... [5]")
    parser.add_argument("--workers", type=int, default=2, help="courses at a time [2]")
    parser.add_argument("--quick", action="store_true", help="everything in small: is it alive?")
    parser.add_argument(
        "--records", type=Path, default=Path("runs/experiments/records.jsonl"), metavar="FILE",
        help="finished courses; what is in there is not run again [%(default)s]",
    )  # fmt: skip
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the sections into this page, e.g. docs/results.md",
    )
    parser.add_argument(
        "--source", action="append", default=[], metavar="TASK=FILE",
        help="data of a task of `real`, svamp or reviews; tasks without are left out",
    )  # fmt: skip
    parser.add_argument(
        "--task", action="append", choices=TASKS, help="of `real`; all whose data are at hand"
    )
    parser.add_argument("--method", action="append", choices=REAL_METHODS, help="of `real`; all")
    chosen = parser.parse_args(arguments)
    sources = dict(source.partition("=")[::2] for source in chosen.source)
    if unknown := [name for name in sources if name not in TASKS or not TASKS[name].column]:
        parser.error(f"--source {unknown[0]}: no task of that name wants data")
    for name, file in sources.items():
        try:
            TASKS[name].halves(0, 1, Path(file))
        except DatasetInvalid as error:
            parser.error(f"--source {name}: {error}")
    experiments = {
        **EXPERIMENTS,
        "real": real_experiment(sources, chosen.task or (), chosen.method or ()),
    }
    names: list[str] = chosen.names or [
        name for name in EXPERIMENTS if name != "real" or chosen.quick
    ]
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(f"no experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    if chosen.seeds < 2:
        parser.error("--seeds must be at least 2: an interval wants several")
    bench = Bench(Records(chosen.records), range(chosen.seeds), chosen.quick)
    courses = {name: experiments[name].courses(bench) for name in names}
    todo = bench.records.missing([course for name in names for course in courses[name]])
    make_missing(course.model for course in todo)
    bench.records.run(todo, chosen.workers)
    for name in names:
        experiment = experiments[name]
        asked = _asked(name, chosen) if name == "real" else name
        if chosen.write:
            pictures = chosen.write.parent / "images" / "results"
            body = experiment.report(bench.results(experiment), pictures)
            chosen.write.write_text(
                written(
                    chosen.write.read_text(),
                    name,
                    section(asked, experiment.title, body, bench=bench, courses=courses[name]),
                )
            )
            print(f"{name}: written into {chosen.write}")
        else:
            with tempfile.TemporaryDirectory() as folder:
                body = experiment.report(bench.results(experiment), Path(folder))
            print(section(asked, experiment.title, body, bench=bench, courses=courses[name]))
    return 0


def _asked(name: str, chosen: argparse.Namespace) -> str:
    """The arguments that run the same part of an experiment again."""
    pairs = [source.partition("=") for source in chosen.source]
    sources = [f"{task}={Path(file).name}" for task, _, file in pairs]
    given = {"source": sources, "task": chosen.task or (), "method": chosen.method or ()}
    flags = [f"--{flag} {shlex.quote(value)}" for flag, values in given.items() for value in values]
    return " ".join([name, *flags])


if __name__ == "__main__":
    sys.exit(main())
