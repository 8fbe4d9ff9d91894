"""Settings that the models which come along are run with."""

import os

from ratchet.recipe import with_all_cores
from ratchet.settings import StackSettings


def test_all_cores_are_for_both_unless_they_are_set() -> None:
    cores = os.cpu_count()
    given = with_all_cores(StackSettings(threads=1))
    assert (given.threads, given.engine_threads) == (1, cores)
    assert with_all_cores(StackSettings()).threads == cores
