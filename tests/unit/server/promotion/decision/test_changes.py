"""What moved from one version to the next."""

from server.promotion.decision.asked import Asked
from server.promotion.decision.changes import Changes

KNOWS, ERRS, EVEN = [0, 0, 0, 1], [1, 1, 1, 0], [0, 1, 0, 1]


def test_by_hand() -> None:
    changes = Changes("parent", "base")
    assert changes.numbers() == {}
    rows = {"parent": KNOWS, "base": ERRS}
    changes.add(Asked("same", [], KNOWS, rows))
    changes.add(Asked("other", [], ERRS, rows))
    changes.add(Asked("tied", [], EVEN, rows))  # of two the first leads
    changes.add(Asked("none", [], [None] * 4, rows))
    assert changes.numbers() == {"flipped": 0.5, "majority": (0.75 + 0.75 + 0.5) / 4}
    changes.add(Asked("learnt", [], KNOWS, rows, label=0))
    changes.add(Asked("corrupted", [], KNOWS, rows, label=1))
    changes.add(Asked("still wrong", [], KNOWS, rows, label=2))
    assert changes.numbers()["learnt"] == 1.0
    assert changes.numbers()["corrupted"] == 1.0
