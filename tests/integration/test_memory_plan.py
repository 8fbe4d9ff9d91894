"""The memory plan against the memory of a real update, in processes of their own."""

import sys

import pytest

from loadtests.memory_bench import LIMIT, SHAPES, Shape, measure

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc"),
]


@pytest.mark.parametrize(
    "shape", [shape for shape in SHAPES if not shape.checkpointing], ids=lambda shape: shape.name
)
def test_the_plan_is_within_its_limit(shape: Shape) -> None:
    measured = measure(shape)
    assert measured.worst() <= LIMIT, measured
