"""What the swap bench counts is what it says: by hand, on texts of one and of several adapters."""

import itertools

import pytest

from loadtests.swap_load import Reply, mark_of, marks_in, text_of

ONE, TWO, THREE = (text_of(mark) for mark in "123")
TORN = "2 2 2 3 3 3 3 3 \\boxed{3}"
OF_BASE = "4 carry 3 carry 8 \\boxed{834}"


def reply(version: int | None, *texts: str) -> Reply:
    return Reply(1.0, 1.5, version, [marks_in(text) for text in texts])


def test_texts_tell_who_wrote_them() -> None:
    assert TWO == "2 2 2 2 2 2 2 2 \\boxed{2}"
    assert marks_in(TWO) == {"2"}
    assert marks_in(TWO[:9]) == {"2"}  # cut off
    assert marks_in(TORN) == {"2", "3"}
    assert marks_in(OF_BASE) == marks_in("") == {"?"}


def test_neighbouring_versions_differ() -> None:
    marks = [mark_of(version) for version in range(1, 19)]
    assert set(marks) == set("123456789")
    assert all(a != b for a, b in itertools.pairwise(marks))


@pytest.mark.parametrize(
    ("one", "fault"),
    [
        (reply(1, TWO, TWO), None),
        (reply(1, TWO, TORN), "mixed_answer"),
        (reply(1, TWO, THREE), "mixed_rollouts"),
        (reply(1, ONE, ONE), "misnamed"),
        (reply(1, OF_BASE, OF_BASE), "misnamed"),
        (reply(None), "failed"),
    ],
    ids=["right", "torn", "several", "stale", "base", "failed"],
)
def test_each_fault_is_counted_once(one: Reply, fault: str | None) -> None:
    faults = [
        name
        for name in ("failed", "mixed_answer", "mixed_rollouts", "misnamed")
        if getattr(one, name)
    ]
    assert faults == ([] if fault is None else [fault])
    assert one.seconds == 0.5
