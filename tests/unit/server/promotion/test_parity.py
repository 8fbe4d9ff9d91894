"""Parity on scripted scores: exact engines, and engines that round as bf16 does."""

import random
from collections.abc import Callable, Sequence

import pytest

from adapter.store.judgement import Cause, StepVerdict
from adapter.store.probe_sheet import ProbeSheet
from server.engine.scripted import ScriptedEngine
from server.promotion.parity import Parity, probe_parity

BASE, ADAPTER = [-1.5, -2.5], [-1.0, -2.0]
SHEET = ProbeSheet([[1, 2, 3]], [ADAPTER], [BASE])
Scores = Callable[[str, Sequence[int]], list[float]]


async def parity_of(scores: Scores, sheet: ProbeSheet = SHEET) -> tuple[Parity, StepVerdict]:
    engine = ScriptedEngine(lambda *_: [])
    await engine.load("v1", "/nowhere")
    engine.scores = scores
    parity = await probe_parity(engine, "v1", "base", sheet)
    return parity, parity.verdict(0.02)


def exact(adapter: list[float], base: list[float] = BASE) -> Scores:
    return lambda model, _: base if model == "base" else adapter


async def test_the_trainer_s_numbers_pass() -> None:
    parity, verdict = await parity_of(exact([-1.0, -2.00001]))
    assert (verdict.passed, verdict.cause) == (True, None)
    assert verdict.numbers["to_base"] > verdict.numbers["to_trainer"] > 0
    # Changes of .5 and .49999 against .5 and .5, by hand: .499995 / .5.
    assert parity.applied == pytest.approx(0.99999)
    assert (parity.floor, parity.change) == (0.0, 0.5)


async def test_base_s_numbers_mean_the_adapter_was_ignored() -> None:
    assert (await parity_of(exact(BASE)))[1].cause is Cause.ENGINE_DIFFERS
    close = ProbeSheet([[1, 2, 3]], [[-1.499, -2.499]], [BASE])
    assert (await parity_of(exact(BASE), close))[1].cause is Cause.NOT_APPLIED


async def test_an_adapter_that_is_applied_twice_as_strongly_is_another() -> None:
    slight = ProbeSheet([[1, 2, 3]], [[-1.499, -2.499]], [BASE])
    assert (await parity_of(exact([-1.498, -2.498]), slight))[1].cause is Cause.ENGINE_DIFFERS


async def test_an_adapter_equal_to_base_is_a_no_op() -> None:
    same = ProbeSheet([[1, 2, 3]], [BASE], [BASE])
    assert (await parity_of(exact(BASE), same))[1].cause is Cause.NO_CHANGE


async def test_another_base_model_is_told_apart_however_large_the_floor() -> None:
    other = exact([-3.0, -4.0], [-3.5, -4.5])
    _, verdict = await parity_of(other)
    assert verdict.cause is Cause.ENGINE_DIFFERS and "on base" in verdict.reason


async def test_nan_never_passes() -> None:
    _, verdict = await parity_of(exact([float("nan"), -2.0]))
    assert verdict.cause is Cause.ENGINE_DIFFERS
    assert "to_trainer" not in verdict.numbers  # JSON could not hold it


async def test_an_empty_sheet_proves_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        await parity_of(exact(BASE), ProbeSheet([], [], []))


async def test_only_completions_are_compared() -> None:
    sheet = ProbeSheet([[7, 8, 1, 2]], [[-1.0]], [[-1.5]], [3])
    parity, verdict = await parity_of(exact([-9.0, -9.0, -1.0], [-5.0, -5.0, -1.5]), sheet)
    assert verdict.passed and parity.to_trainer == 0.0


class Rounding:
    """A sheet of 64 x 16 tokens that an update moves by 0.01 on average, and an engine in bf16:
    every score is off by 0.03. `shows` is the share of the change that the engine shows, `other`
    has it run another adapter of the same size."""

    def __init__(self, seed: int, shows: float = 1.0, other: bool = False) -> None:
        rng = random.Random(seed)
        ids = [[index, *range(16)] for index in range(64)]
        base = [[-rng.expovariate(1.0) for _ in range(16)] for _ in ids]
        moved = [[b + rng.gauss(0, 0.0125) for b in row] for row in base]
        ran = [[b + rng.gauss(0, 0.0125) for b in row] for row in base] if other else moved
        self.sheet = ProbeSheet(ids, moved, base, [1] * 64)
        self.rows = {"base": base, "v1": ran}
        self.shows, self.rng = shows, rng

    def __call__(self, model: str, tokens: Sequence[int]) -> list[float]:
        own, base = self.rows[model][tokens[0]], self.rows["base"][tokens[0]]
        shown = [b + self.shows * (a - b) for a, b in zip(own, base, strict=True)]
        return [score + self.rng.gauss(0, 0.03) for score in shown]


@pytest.mark.parametrize("seed", range(20))
async def test_through_the_rounding_of_bf16_an_update_is_seen(seed: int) -> None:
    real, ignored = Rounding(seed), Rounding(seed, shows=0.0)
    assert (await parity_of(real, real.sheet))[1].passed
    assert (await parity_of(ignored, ignored.sheet))[1].cause is Cause.NOT_APPLIED
    wrong = Rounding(seed, other=True)
    assert (await parity_of(wrong, wrong.sheet))[1].cause is Cause.NOT_APPLIED


async def test_where_numbers_are_exact_a_few_sequences_are_enough() -> None:
    asked: list[int] = []
    rounding = Rounding(0)

    def scores(model: str, tokens: Sequence[int]) -> list[float]:
        asked.append(tokens[0])
        return rounding.rows[model][tokens[0]]

    parity, verdict = await parity_of(scores, rounding.sheet)
    assert verdict.passed and parity.applied == pytest.approx(1.0)
    assert len(asked) == 8 and len(set(asked)) == 4
