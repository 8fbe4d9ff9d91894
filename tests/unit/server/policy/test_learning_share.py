"""Learning's bounded share of the engine."""

import asyncio

import pytest

from server.policy.learning_share import LearningShare


class Bench:
    """Requests for rollouts that each stay until they are let go."""

    def __init__(self, alone: int = 8, beside: int = 2) -> None:
        self.clients = 0
        self.share = LearningShare(alone=alone, beside=beside, clients=lambda: self.clients)
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
