"""An experiment: courses by label, run over seeds, and a section written from their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.experiments.course import Course, Record
from evals.experiments.runs import AnyCourse, Records

BASE = Course(reward="")
TTRL = Course(reward="majority")
DARE = Course(reward="dare")
LABELLED = Course(reward="ground_truth", train_on="stream")
"""GRPO with labels, as usual: on other questions than those it is scored on."""

Results = Mapping[str, Sequence[Record]]
"""By label, a record for each seed, in the order of the seeds."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """`variants` are courses by label, their seed left open; `report` writes Markdown (without its
    heading) and may put pictures into the folder it is given."""

    title: str
    variants: Mapping[str, AnyCourse]
    report: Callable[[Results, Path], str]

    def courses(self, bench: Bench) -> list[AnyCourse]:
        """All courses on this bench."""
        return [
            bench.as_run(course).of_seed(seed)
            for seed in bench.seeds
            for course in self.variants.values()
        ]


@dataclass(frozen=True, slots=True)
class Bench:
    """Records and seeds of a run of experiments. `quick` is a dry run: every course takes seconds,
    and its numbers mean nothing."""

    records: Records
    seeds: Sequence[int]
    quick: bool = False

    def as_run(self, course: AnyCourse) -> AnyCourse:
        """The course as it is run on this bench."""
        return course.quick() if self.quick else course

    def results(self, experiment: Experiment) -> Results:
        """The results of the experiment's courses. KeyError if one has not been run."""
        return {
            label: self.records.of(self.as_run(course), self.seeds)
            for label, course in experiment.variants.items()
        }
