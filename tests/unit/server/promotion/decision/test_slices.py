"""Slices of the traffic: losses that the whole would hide."""

from collections.abc import Sequence

from server.promotion.decision.asked import Asked
from server.promotion.decision.slices import Slices, Yardstick

LIKE_BASE, WRONG, RIGHT = [0, 0, 0, 1], [2, 2, 2, 2], [0, 0, 0, 0]


def added(*rows: tuple[str, Sequence[int | None], int | None, int]) -> Slices:
    """Slice, the candidate's answers, label, and how many such queries."""
    slices = Slices()
    for name, answers, label, count in rows:
        for number in range(count):
            asked = Asked(f"{name}{number}", [name], answers, {"base": LIKE_BASE}, label)
            slices.add(asked, "base", asked.difference("base"))
    return slices


def test_gains_elsewhere_do_not_pay_for_a_slice() -> None:
    found = added(("most", RIGHT, 0, 100), ("few", WRONG, 0, 14)).found()
    assert found is not None
    assert (found.name, found.reference, found.by) == ("few", "base", Yardstick.SCORE)
    assert found.moments.mean == -0.75


def test_a_slice_that_leaves_all_that_base_agrees_on_is_found_without_labels() -> None:
    found = added(("most", LIKE_BASE, None, 100), ("few", WRONG, None, 14)).found()
    assert found is not None
    assert (found.name, found.by) == ("few", Yardstick.OVERTURNED)


def test_a_slice_that_no_longer_answers_is_found_without_labels() -> None:
    broken = [0, 0, None, None]
    found = added(("most", LIKE_BASE, None, 100), ("few", broken, None, 16)).found()
    assert found is not None
    assert (found.name, found.by) == ("few", Yardstick.ANSWERED)
    assert found.moments.mean == -0.5
    assert added(("most", broken, None, 100), ("few", LIKE_BASE, None, 1)).suspect()


def test_labels_defend_a_slice_that_is_overturned_for_the_better() -> None:
    mended = (("few", WRONG, None, 14), ("most", LIKE_BASE, None, 100))
    assert added(*mended, ("few", WRONG, 2, 12)).found() is None


def test_a_slice_of_one_query_decides_nothing() -> None:
    assert added(("most", LIKE_BASE, None, 100), ("one", WRONG, 0, 1)).found() is None


def test_equal_answers_are_no_loss() -> None:
    slices = added(("a", LIKE_BASE, None, 50), ("b", LIKE_BASE, None, 50), ("a", LIKE_BASE, 0, 50))
    assert slices.found() is None
    assert slices.numbers() == {"lowest": 0.0, "compared": 2.0}  # all labels are one slice


def test_few_queries_are_suspected_and_not_found() -> None:
    slices = added(("most", LIKE_BASE, None, 70), ("few", [2, 3, 4, 5], None, 4))
    assert slices.found() is None
    assert slices.suspect()
    assert not added(("most", LIKE_BASE, None, 70), ("few", LIKE_BASE, None, 4)).suspect()
