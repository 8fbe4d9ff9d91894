import pytest

from adapter.store.judgement import Cause, StepVerdict
from adapter.store.probe_sheet import ProbeSheet
from server.engine.scripted import ScriptedEngine
from server.promotion.parity import probe_parity

SHEET = ProbeSheet([[1, 2, 3]], [[-1.0, -2.0]], [[-1.5, -2.5]])


async def parity_of(scores: list[float], sheet: ProbeSheet = SHEET) -> StepVerdict:
    engine = ScriptedEngine(lambda *_: [])
    await engine.load("v1", "/nowhere")
    engine.scores = lambda *_: scores
    return (await probe_parity(engine, "v1", sheet)).verdict(0.02)


async def test_the_trainer_s_numbers_pass() -> None:
    verdict = await parity_of([-1.0, -2.00001])
    assert (verdict.passed, verdict.cause) == (True, None)
    assert verdict.numbers["to_base"] > verdict.numbers["to_trainer"] > 0


async def test_base_s_numbers_mean_the_adapter_was_ignored() -> None:
    assert (await parity_of([-1.5, -2.5])).cause is Cause.ENGINE_DIFFERS
    close = ProbeSheet([[1, 2, 3]], [[-1.0, -2.0]], [[-1.001, -2.001]])
    assert (await parity_of([-1.001, -2.001], close)).cause is Cause.NOT_APPLIED


async def test_an_adapter_equal_to_base_is_a_no_op() -> None:
    same = ProbeSheet([[1, 2, 3]], [[-1.0, -2.0]], [[-1.0, -2.0]])
    assert (await parity_of([-1.0, -2.0], same)).cause is Cause.NO_CHANGE


async def test_nan_never_passes() -> None:
    verdict = await parity_of([float("nan"), -2.0])
    assert verdict.cause is Cause.ENGINE_DIFFERS
    assert verdict.numbers == {}  # JSON could not hold them


async def test_an_empty_sheet_proves_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        await probe_parity(ScriptedEngine(lambda *_: []), "v1", ProbeSheet([], [], []))
