"""Random kills of learner, server, Redis, judge and feeder: nothing is lost, nothing doubled."""

from pathlib import Path

import pytest

from loadtests.chaos import Chaos
from loadtests.history_check import check, read


@pytest.mark.integration
def test_groups_survive_random_kills(tmp_path: Path) -> None:
    Chaos(tmp_path, groups=160, kills=25, pace=0.6, seed=3).run(seconds=90)
    found = check(*read(tmp_path))
    assert found["faults"] == []
    assert (found["accepted"], found["kills"]) == (160, 25)
    assert found["trained"] + found["waiting"] + found["dead"] == 160 + found["served"]
    assert found["served"] + found["lost_with_server"] >= 30
