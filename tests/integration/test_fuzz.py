"""A little of `make fuzz`, which takes ten minutes."""

import pytest

from tests.fuzz import fuzz
from tests.storm import storm


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_document_is_kept_whatever_is_sent() -> None:
    status, cases, said = fuzz(examples=60, seed=1)
    assert status == 0, said[-6000:]
    assert cases > 500


@pytest.mark.integration
@pytest.mark.timeout(200)
def test_made_up_requests_are_answered_and_leave_nothing_behind() -> None:
    found = storm(cases=20_000, seconds=90, seed=1)
    assert not found.failures, "\n".join(found.failures)
    assert found.cases >= 2_000, "the machine is too slow to test this"
    assert found.statuses[200] > found.cases / 20
    assert found.grown < 40 << 20, found.told()
