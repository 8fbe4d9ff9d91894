"""An even order of parts of the traffic."""

import random

from hypothesis import given
from hypothesis import strategies as st

from server.promotion.decision.spread import spread


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40), st.integers(0, 9))
def test_every_item_comes_once(parts: list[tuple[int, int]], seed: int) -> None:
    assert sorted(spread(parts, random.Random(seed))) == list(range(len(parts)))


def test_a_tenth_of_all_has_its_share_of_every_beginning() -> None:
    parts = [("few" if row % 10 == 0 else "most", f"template {row}") for row in range(500)]
    for seed in range(200):
        order = spread(parts, random.Random(seed))
        few = [parts[item][0] == "few" for item in order]
        assert 2 <= sum(few[:24]) <= 4
        assert 6 <= sum(few[:80]) <= 10


def test_the_order_is_another_each_time() -> None:
    orders = {tuple(spread([("a",)] * 20, random.Random(seed))) for seed in range(20)}
    assert len(orders) == 20
