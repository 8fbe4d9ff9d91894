"""The simulation of the gate's errors, on few runs."""

import numpy as np
import pytest

from loadtests.lineage_errors import TRIALS, Lineage, main, tried
from server.promotion.decision.sequential_test import Proof


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("5 points worse", -0.05),
        ("1 in 20 lost outright", -0.05),
        ("21% lost outright, 0.2 gained on all others", -0.05),
        ("equal", 0.0),
        ("10 points better, differences of 0.2", 0.1),
    ],
)
def test_the_shapes_have_the_mean_that_they_say(name: str, mean: float) -> None:
    noise = np.random.default_rng(1)
    drawn = np.concatenate([TRIALS[name](noise) for _ in range(500)])
    assert drawn.mean() == pytest.approx(mean, abs=0.006)


def test_clear_gains_are_cheap_and_edges_do_not_pass() -> None:
    noise = np.random.default_rng(2)
    gains = [tried(TRIALS["10 points better, differences of 0.2"], noise) for _ in range(100)]
    assert {proof for proof, _ in gains} == {Proof.NOT_WORSE}
    assert np.mean([count for _, count in gains]) < 50
    edges = [tried(TRIALS["5 points worse"], noise)[0] for _ in range(300)]
    assert edges.count(Proof.NOT_WORSE) <= 24  # 5%, and three standard deviations


def test_a_lineage_that_only_loses_is_held() -> None:
    ends: list[float] = []
    for seed in range(5):
        lineage = Lineage(-0.02, 30, np.random.default_rng(seed))
        lineage.play()
        ends.append(lineage.live)
    assert np.mean(ends) > 0.64  # 60 points are offered


def test_it_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "3", "--only", "10 "]) == 0
    out = capsys.readouterr().out
    assert "| 10 points better, differences of 0.2 | 100.0% | 0.0% |" in out
    assert "| 10 equal ones |" in out
