"""Settings that the models which come along are run with."""

import os

from ratchet.recipe import with_all_cores
from ratchet.settings import StackSettings


def test_all_cores_are_for_both_unless_either_is_set() -> None:
    cores = os.cpu_count()
    given = with_all_cores(StackSettings())
    assert (given.threads, given.engine_threads) == (cores, cores)
    assert with_all_cores(StackSettings(threads=1)).engine_threads == 0
    assert with_all_cores(StackSettings(engine_threads=1)).threads == 0
