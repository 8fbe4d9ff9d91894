"""The serving bench's figures and targets, by hand."""

import pytest

from loadtests.serving_load import Reply
from loadtests.serving_report import Soak, Turn, figures, tables, targets


def turn(part: str, side: str, milliseconds: list[float], cpu: float | None = None) -> Turn:
    replies = [Reply(0.0, ms / 1000, ms / 2000, failed=False) for ms in milliseconds]
    return Turn(part, side, 2.0, replies, cpu=cpu)


def test_figures_of_several_turns() -> None:
    broken = Reply(0.0, 9.0, None, failed=True)
    turns = [
        turn("B", "ratchet", [10, 20], cpu=0.004),
        Turn("B", "ratchet", 2.0, [Reply(0.0, 0.03, None, failed=False), broken], cpu=0.004),
    ]
    it = figures(turns)["B"]["ratchet"]
    assert (it["requests"], it["failed"]) == (4, 1)
    assert it["requests_per_second"] == pytest.approx(3 / 4)
    assert it["p50"] == pytest.approx(20)
    assert it["to_first_p50"] == pytest.approx(7.5)  # of 5 and 10
    assert it["cpu_per_request"] == pytest.approx(2)  # 8 ms over four requests, failed ones too
    assert it["recorded"] is None


def test_targets_are_met_or_not() -> None:
    turns = [
        turn("A", "direct", [10, 10]),
        turn("A", "ratchet", [12]),
        turn("B", "ratchet", [1] * 8, cpu=0.008),
        turn("B", "litellm", [1], cpu=0.008),
        turn("E", "ratchet", [1], cpu=0.016),
    ]
    found = {target.name: target for target in targets(figures(turns))}
    assert len(found) == 5
    rate = found["A requests/s, Ratchet / direct"]
    assert (rate.found, rate.met) == (pytest.approx(0.5), False)
    added = found["A added p50, ms"]
    assert (added.found, added.met) == (pytest.approx(2), True)
    cpu = found["B CPU a request, Ratchet / LiteLLM"]
    assert (cpu.found, cpu.met) == (pytest.approx(1 / 8), True)
    assert found["B requests/s, Ratchet / LiteLLM"].met
    assert not found["E CPU a request, ms"].met


def test_a_side_that_is_missing_meets_nothing() -> None:
    found = targets(figures([turn("B", "ratchet", [1], cpu=0.001)]))
    assert [(target.found, target.met) for target in found] == [(None, None)] * 2
    assert "| - | - |" in tables(figures([turn("B", "ratchet", [1], cpu=0.001)]), found)


def test_drift_is_from_the_first_tenth_on() -> None:
    soak = Soak([0, 50, 100, 500, 1000], [10 << 20, 50 << 20, 100 << 20, 101 << 20, 103 << 20])
    it = soak.figures()
    assert (it["rss_tenth_mib"], it["rss_end_mib"]) == (100, 103)
    assert it["drift"] == pytest.approx(0.03)
    [target] = targets({}, soak)
    assert not target.met


@pytest.mark.parametrize(("recorded", "said"), [(1, True), (2, False)])
def test_cpu_without_all_of_the_recording_is_not_passed_off_as_all(
    recorded: int, said: bool
) -> None:
    replies = [Reply(0.0, 0.01, None, failed=False)] * 2
    found = figures([Turn("B", "ratchet", 1.0, replies, cpu=0.002, recorded=recorded)])
    assert ("only 50.0% of the requests were recorded" in tables(found, [])) is said
