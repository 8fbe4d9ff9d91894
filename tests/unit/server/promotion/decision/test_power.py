"""Settings of the gate that cannot decide."""

import random

import pytest

from server.promotion.decision.power import GateCannotDecide, check_decides, power
from server.promotion.decision.sequential_test import Proof, SequentialTest


def test_more_queries_rollouts_or_margin_make_it_likelier() -> None:
    assert power(0.05, 192, 8) == pytest.approx(0.79, abs=0.01)  # (.05 - 1.83 x .0193) / .018 = .81
    assert power(0.05, 192, 4) < power(0.05, 192, 8) < power(0.05, 384, 8)
    assert power(0.05, 192, 8) < power(0.1, 192, 8)


def test_it_is_what_the_test_does() -> None:
    noise, passed = random.Random(1), 0
    for _ in range(1_000):
        test = SequentialTest(0.1)
        for _ in range(64):
            ours, theirs = (sum(noise.random() < 0.5 for _ in range(4)) for _ in range(2))
            test.add((ours - theirs) / 4)
        test.look(1.0)
        passed += test.proof is Proof.NOT_WORSE
    assert passed / 1_000 == pytest.approx(power(0.1, 64, 4), abs=0.05)


def test_settings_that_decide_are_let_through() -> None:
    check_decides(0.05, 192, 8)
    check_decides(0.05, 192, 4)
    check_decides(0.1, 192, 4)


@pytest.mark.parametrize("settings", [(0.05, 16, 2), (0.01, 192, 8), (0.05, 1, 64)])
def test_the_others_are_refused_by_name_with_a_number_that_would_do(
    settings: tuple[float, int, int],
) -> None:
    with pytest.raises(GateCannotDecide, match=r"gate_queries .* gate_margin") as refused:
        check_decides(*settings)
    wanted = int(str(refused.value).split("gate_queries to ")[1].split()[0])
    check_decides(settings[0], wanted, settings[2])
