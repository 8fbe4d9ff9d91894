"""Generated sections of a page, between comments that name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.experiments.experiment import Bench
from evals.experiments.runs import AnyCourse


def section(name: str, title: str, body: str, *, bench: Bench, courses: Sequence[AnyCourse]) -> str:
    """Heading, body, and where the numbers come from."""
    commit, machine = bench.records.origin(courses)
    minutes = bench.records.seconds(courses) / 60
    return (
        f"### {title}\n\n{body}\n\n"
        f"`python -m evals.experiments {name}`, seeds {', '.join(map(str, bench.seeds))}; commit "
        f"{commit}; {machine}; {len(courses)} courses, {minutes:.0f} process minutes.\n"
    )


def written(page: str, name: str, text: str) -> str:
    """The page with this section. Raises ValueError if the page has no place for it."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}{end}", page)
