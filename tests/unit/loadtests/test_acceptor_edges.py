"""Trials at the edge of the margin."""

import numpy as np
import pytest

from adapter.store.judgement import Cause
from loadtests.acceptor_edges import EdgeTrial


@pytest.mark.parametrize("labels", [0, 100])
def test_equal_candidates_pass_and_clear_losers_do_not(labels: int) -> None:
    noise = np.random.default_rng(3)
    equal = [EdgeTrial(0.0, labels, noise).hold() for _ in range(30)]
    assert sum(finding.accepted for finding in equal) >= 22
    worse = [EdgeTrial(0.15, labels, noise).hold() for _ in range(10)]
    assert {finding.cause for finding in worse} == {Cause.WORSE}
