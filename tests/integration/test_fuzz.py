"""A little of `make fuzz`, which takes ten minutes."""

import pytest

from tests.fuzz import fuzz


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_document_is_kept_whatever_is_sent() -> None:
    status, cases, said = fuzz(examples=60, seed=1)
    assert status == 0, said[-6000:]
    assert cases > 500
