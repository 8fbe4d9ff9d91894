"""The standing comparison of live with best."""

import random

from server.promotion.decision.standing import Standing


def test_small_losses_of_several_versions_add_up() -> None:
    noise, standing = random.Random(1), Standing()
    for version in range(8):
        standing.begin(f"v{version}", "base")
        assert not standing.worse
        for number in range(400):
            standing.add(number, noise.choice([-0.25, 0.0, 0.19]))
    assert standing.worse
    assert standing.moments.count == 3200
    standing.begin("v9", "base")
    assert not standing.worse  # nothing is known of this one yet
    standing.add(1, 0.5)
    assert not standing.worse
    standing.add(2, -1.0)
    assert standing.worse


def test_a_new_best_version_or_going_back_to_it_ends_the_comparison() -> None:
    for live, best in (("v2", "v1"), ("base", "base")):
        standing = Standing()
        standing.begin("v1", "base")
        for number in range(50):
            standing.add(number, -0.5)
        assert standing.worse
        standing.begin(live, best)
        standing.begin("v3", best)
        standing.add(1, -0.5)
        assert not standing.worse


def test_answers_that_were_drawn_once_count_once() -> None:
    standing = Standing()
    standing.begin("v1", "base")
    for _ in range(100):
        standing.add("q", -0.5)
    assert standing.moments.count == 1


def test_a_lineage_that_is_no_worse_is_hardly_ever_taken_back() -> None:
    noise, taken = random.Random(2), 0
    for _ in range(200):
        standing = Standing()
        standing.begin("v1", "base")
        for number in range(1_000):
            standing.add(number, noise.choice([-0.3, 0.0, 0.3]))
            if standing.worse:
                taken += 1
                break
    assert taken <= 6
