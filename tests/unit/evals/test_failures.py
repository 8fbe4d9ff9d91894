import pytest

from evals.failures import ungrouped


class Ours(Exception):
    pass


def test_the_first_of_our_kind_comes_out_of_any_depth() -> None:
    inner = ExceptionGroup("inner", [ValueError("other"), Ours("first"), Ours("second")])
    with pytest.raises(Ours, match="first"), ungrouped(Ours):
        raise ExceptionGroup("outer", [inner])


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ExceptionGroup), ungrouped(Ours):
        raise ExceptionGroup("outer", [ValueError("other")])
    with pytest.raises(ValueError), ungrouped(Ours):
        raise ValueError("alone")
    with pytest.raises(Ours, match="alone"), ungrouped(Ours):
        raise Ours("alone")
