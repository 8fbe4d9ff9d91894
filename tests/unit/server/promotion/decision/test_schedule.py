"""When a trial looks, and what it has asked by then."""

import pytest

from server.promotion.decision.schedule import STEP, planned_looks, windows


def test_looks_are_planned_on_whole_steps() -> None:
    assert planned_looks(192) == (24, 32, 48, 64, 80, 144, 192)
    assert planned_looks(32) == (24, 32)
    assert planned_looks(10) == (10,)


@pytest.mark.parametrize("queries", [1, 16, 100, 192])
@pytest.mark.parametrize("labels", [0, 1, 30, 200, 10_000])
def test_every_query_is_asked_once_and_the_labelled_ones_before_any_pass(
    queries: int, labels: int
) -> None:
    parts = windows(queries, labels)
    assert [at for part in parts for at in part.queries] == list(range(queries))
    assert [at for part in parts for at in part.labels] == list(range(labels))
    asked = read = 0
    looks = set(planned_looks(queries))
    for part in parts:
        assert 1 <= len(part.queries) <= STEP
        asked, read = asked + len(part.queries), read + len(part.labels)
        if asked in looks:
            assert read == labels
            looks.remove(asked)
    assert not looks


def test_few_labels_come_at_a_time() -> None:
    assert max(len(part.labels) for part in windows(192, 200)) <= 24
