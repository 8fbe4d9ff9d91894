"""Fair turns for mathematics."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event

import pytest

from rewards.answers.judging.time_budget import TimeBudget, current_budget
from server.mathematics import Mathematics
from tests.serving import until


@pytest.fixture
def made() -> Iterator[Callable[..., Mathematics]]:
    each: list[Mathematics] = []

    def make(places: int = 1, **options: float) -> Mathematics:
        each.append(Mathematics(places, **options))
        return each[-1]

    yield make
    for one in each:
        one.close()


class Work:
    """Begins, and ends when it is let go."""

    def __init__(self, name: str, order: list[str]) -> None:
        self._name, self._order, self._go = name, order, Event()
        self.begun = False

    def __call__(self) -> str:
        self.begun = True
        self._order.append(self._name)
        self._go.wait(5)
        return self._name

    def let_go(self) -> None:
        self._go.set()


async def test_who_has_used_least_goes_first(made: Callable[..., Mathematics]) -> None:
    mathematics, order = made(), list[str]()
    works = {name: Work(name, order) for name in ("m1", "m2", "m3", "ada")}

    def asked(name: str) -> asyncio.Task[str]:
        work = mathematics.run(name[0], TimeBudget(), works[name])
        return asyncio.create_task(work)

    tasks = [asked("m1")]
    await until(lambda: works["m1"].begun)
    await asyncio.sleep(0.01)
    tasks += [asked("m2"), asked("m3"), asked("ada")]
    await asyncio.sleep(0)
    for work in works.values():
        work.let_go()
    assert await asyncio.gather(*tasks) == ["m1", "m2", "m3", "ada"]
    assert order == ["m1", "ada", "m2", "m3"]


async def test_who_waits_too_long_gets_no_mathematics(made: Callable[..., Mathematics]) -> None:
    mathematics, order = made(patience=0.05), list[str]()
    held = Work("held", order)
    holding = asyncio.create_task(mathematics.run("m", TimeBudget(), held))
    await until(lambda: held.begun)
    left = partial(lambda: current_budget().left(1.0))
    assert await mathematics.run("ada", TimeBudget(), left) == 0.0
    soon = TimeBudget(until=time.monotonic() + 0.01)
    assert await mathematics.run("ada", soon, left) == 0.0
    held.let_go()
    await holding
    assert await mathematics.run("ada", TimeBudget(), left) == 4.0


async def test_who_leaves_keeps_no_place_and_takes_none_that_is_used(
    made: Callable[..., Mathematics],
) -> None:
    mathematics, order = made(), list[str]()
    held, late = Work("held", order), Work("late", order)
    holding = asyncio.create_task(mathematics.run("m", TimeBudget(), held))
    await until(lambda: held.begun)
    waiting = asyncio.create_task(mathematics.run("m", TimeBudget(), late))
    await asyncio.sleep(0)
    for task in (holding, waiting):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)
    after = asyncio.create_task(mathematics.run("ada", TimeBudget(), lambda: "after"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not after.done(), "the thread is still at it"
    held.let_go()
    assert await after == "after"
    assert order == ["held"]


async def test_what_fails_frees_its_place(made: Callable[..., Mathematics]) -> None:
    mathematics = made()
    with pytest.raises(ZeroDivisionError):
        await mathematics.run("m", TimeBudget(), lambda: 1 // 0)
    assert await mathematics.run("m", TimeBudget(), lambda: "fine") == "fine"
