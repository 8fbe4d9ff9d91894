"""Learning's bounded share of the engine."""

import asyncio

import pytest

from server.policy.learning_share import LearningShare
from tests.serving import until


class Bench:
    """Requests for rollouts that each stay until they are let go."""

    def __init__(self, alone: int = 8, beside: int = 2, quiet: float = 0.0) -> None:
        self.clients = 0
        self.share = LearningShare(
            alone=alone, beside=beside, quiet=quiet, clients=lambda: self.clients
        )
        self.inside: list[str] = []
        self.beside: dict[str, bool] = {}
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, rollouts: int) -> None:
        async def stay() -> None:
            async with self.share.take(rollouts) as beside:
                self.inside.append(name)
                self.beside[name] = beside
                await self.leave[name].wait()
            self.inside.remove(name)

        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(stay())
        await self.settle()

    async def go(self, name: str) -> None:
        self.leave[name].set()
        await self.tasks[name]
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_alone_it_may_have_much_and_beside_clients_little() -> None:
    bench = Bench()
    await bench.ask("a", 4)
    await bench.ask("b", 4)
    await bench.ask("c", 4)
    assert bench.inside == ["a", "b"]
    bench.clients = 1
    await bench.go("a")
    assert (bench.inside, bench.share.under_way) == (["b"], 4)
    await bench.go("b")  # nothing else is under way: it must move, however small the share
    assert (bench.inside, bench.beside["c"]) == (["c"], True)
    await bench.ask("d", 4)
    bench.clients = 0
    bench.share.changed()
    await bench.settle()
    assert bench.inside == ["c", "d"]
    assert bench.beside == {"a": False, "b": False, "c": True, "d": False}
    for name in "cd":
        await bench.go(name)
    assert bench.share.under_way == 0


async def test_the_first_to_come_is_the_first_to_be_let_in() -> None:
    bench = Bench()
    await bench.ask("a", 8)
    await bench.ask("big", 6)
    await bench.ask("small", 1)
    assert bench.inside == ["a"]
    await bench.go("a")
    assert bench.inside == ["big", "small"]
    for name in ("big", "small"):
        await bench.go(name)


@pytest.mark.parametrize("inside", [True, False])
async def test_who_gives_up_gives_room(inside: bool) -> None:
    bench = Bench()
    if not inside:
        await bench.ask("before", 8)
    await bench.ask("a", 8)
    bench.tasks["a"].cancel()
    await asyncio.gather(bench.tasks["a"], return_exceptions=True)
    if not inside:
        await bench.go("before")
    await bench.ask("b", 8)
    assert "b" in bench.inside
    await bench.go("b")
    assert bench.share.under_way == 0


async def test_who_gave_up_keeps_nobody_waiting() -> None:
    bench = Bench()
    await bench.ask("a", 4)
    await bench.ask("big", 8)
    await bench.ask("small", 4)
    assert bench.inside == ["a"]
    bench.tasks["big"].cancel()
    await asyncio.gather(bench.tasks["big"], return_exceptions=True)
    await bench.settle()
    assert bench.inside == ["a", "small"]
    for name in ("a", "small"):
        await bench.go(name)
    assert bench.share.under_way == 0


class Worker:
    """Work that is let in, broken off and begun again."""

    def __init__(self, share: LearningShare) -> None:
        self._share = share
        self.begun: list[str] = []
        self.done = asyncio.Event()

    async def work(self, name: str, rollouts: int) -> str:
        async def begin(_beside: bool) -> str:
            self.begun.append(name)
            await self.done.wait()
            return name

        return await self._share.work(rollouts, begin)


async def test_what_was_begun_in_a_quiet_moment_is_broken_off_for_clients() -> None:
    """The oldest goes on, however often clients come."""
    bench = Bench(alone=8, beside=2)
    worker = Worker(bench.share)
    tasks = [asyncio.create_task(worker.work(name, 2)) for name in "abcd"]
    await bench.settle()
    assert (worker.begun, bench.share.under_way) == (["a", "b", "c", "d"], 8)
    bench.clients = 1
    bench.share.changed()
    await bench.settle()
    assert (worker.begun, bench.share.under_way) == (["a", "b", "c", "d"], 2)
    bench.share.changed()  # another one comes
    await bench.settle()
    assert bench.share.under_way == 2
    bench.clients = 0
    bench.share.changed()
    await until(lambda: bench.share.under_way == 8)
    await bench.settle()
    assert sorted(worker.begun[4:]) == ["b", "c", "d"]
    worker.done.set()
    assert await asyncio.gather(*tasks) == ["a", "b", "c", "d"]
    assert bench.share.under_way == 0


async def test_work_that_is_given_up_or_fails_gives_its_room() -> None:
    bench = Bench()
    task = asyncio.create_task(Worker(bench.share).work("a", 8))
    await bench.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.share.under_way == 0

    async def fail(_beside: bool) -> None:
        raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        await bench.share.work(8, fail)
    assert bench.share.under_way == 0


async def test_a_pause_between_two_questions_is_no_quiet_moment() -> None:
    bench = Bench(quiet=0.05)
    bench.clients = 1
    bench.share.changed()
    now = asyncio.get_running_loop().time
    answered_at = now() + 0.05
    await until(lambda: now() >= answered_at)
    bench.clients = 0
    bench.share.changed()
    await bench.ask("a", 2)
    await bench.ask("b", 2)
    assert bench.inside == ["a"]
    await until(lambda: bench.inside == ["a", "b"])
    for name in "ab":
        await bench.go(name)
