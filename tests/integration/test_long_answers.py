"""Answers of thousands of tokens through a server's parts and a buffer to the learner's hands: what
docs/performance.md states of them, by the bench that measures it."""

from collections.abc import Callable

import pytest

from loadtests.long_answers import SHAPES, alone, upstream
from tests.key_values import SERVERS, KeyValueServer

pytestmark = pytest.mark.integration

_MB = 1 << 20
_BLOCK = 0.05
_SECONDS = 30.0
"""For a machine that does other things too; it takes one or two."""


@pytest.mark.timeout(240)
def test_long_answers_are_carried_in_little_memory_and_keep_nobody_waiting(
    servers: Callable[[str], KeyValueServer],
) -> None:
    for shape, memory, wire in (("3k", 64, 1_600_000), ("32k", 160, 4_700_000)):
        count, length = SHAPES[shape]
        with upstream(shape) as address:
            found = alone(address, servers(SERVERS[0]).url, shape)
        assert found.tokens == count * length
        assert found.wire <= wire
        assert found.memory <= memory * _MB
        assert found.block <= _BLOCK
        assert found.reply + found.recorded + found.read <= _SECONDS


@pytest.mark.timeout(240)
def test_nor_do_log_probabilities_that_the_client_wants() -> None:
    """Two objects a token; with all of them kept, 0.39 s at a time and 281 MB were measured."""
    with upstream("32k") as address:
        found = alone(address, "memory://", "32k", logprobs=True)
    assert found.block <= 0.1
    assert found.memory <= 240 * _MB
