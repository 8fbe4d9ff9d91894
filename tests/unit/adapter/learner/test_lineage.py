"""Ancestry and age of what is being learnt, by hand."""

from dataclasses import replace
from pathlib import Path

from adapter.learner.lineage import AGE, Lineage, last_good
from adapter.store.releases import AdapterRelease, ReleaseState


def release(version: int, parent: int, age: int, state: ReleaseState) -> AdapterRelease:
    return AdapterRelease(version, parent, f"v{version}", "", [], {AGE: age}, 0.0, state)


FAMILY = [
    release(1, 0, 40, ReleaseState.RETIRED),
    release(2, 1, 50, ReleaseState.RETIRED),
    release(3, 2, 60, ReleaseState.REJECTED),
    release(4, 2, 70, ReleaseState.RETIRED),
    release(6, 4, 101, ReleaseState.LIVE),
]


def test_lag_counts_promotions_along_the_ancestry() -> None:
    lineage = Lineage()
    lineage.follow(6, FAMILY, None)
    assert [lineage.lag(version) for version in (6, 4, 2, 1, 0)] == [0, 1, 2, 3, 4]
    assert lineage.lag(3) is None
    lineage.grow(7)
    assert (lineage.tip, lineage.lag(6)) == (7, 1)


def test_age_counts_distinct_queries_and_travels_with_the_folder(tmp_path: Path) -> None:
    lineage = Lineage()
    lineage.follow(0, [], None)
    assert lineage.consider(["a", "b", "a"]) == 2
    assert lineage.age == 0  # nothing has come of it yet
    lineage.save(tmp_path)
    lineage.grow(1)
    assert lineage.age == 2
    assert lineage.consider(["b", "c"]) == 3

    again = Lineage()
    again.follow(6, FAMILY, tmp_path)
    assert again.age == 2
    assert again.consider(["a", "b"]) == 2


def test_a_rejected_version_does_not_age_its_lineage(tmp_path: Path) -> None:
    lineage = Lineage()
    lineage.follow(0, [], None)
    lineage.consider(["a", "b"])
    assert lineage.consider(["c"]) == 1


def test_last_good_has_half_its_life_before_it() -> None:
    assert last_good(FAMILY, 6, 100) == 2
    assert last_good(FAMILY, 6, 202) == 6
    assert last_good(FAMILY, 6, 60) == 0
    withdrawn = [replace(r, state=ReleaseState.REJECTED) if r.version == 2 else r for r in FAMILY]
    assert last_good(withdrawn, 6, 100) == 1
