"""Several engines as one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.engine.base import (
    EngineFailed,
    EngineRefused,
    EngineReplyInvalid,
    EngineRequest,
    EngineUnavailable,
    Names,
    draw_all,
)
from server.engine.replica_set import ReplicaSet
from server.engine.scripted import ScriptedEngine
from server.metrics import ServerMetrics
from tests.serving import until

MESSAGES = [{"role": "user", "content": "hi"}]


class Replicas:
    def __init__(self, count: int) -> None:
        self.engines = {f"e{i}": ScriptedEngine(self.script(f"e{i}")) for i in range(count)}
        self.returned = 0
        self.metrics = ServerMetrics()
        self.set = ReplicaSet(self.engines, 0.01, self.metrics)
        self.set.on_return = self._count

    def script(self, name: str):
        return lambda _model, _prompt, n: [name] * n

    def _count(self) -> None:
        self.returned += 1

    async def who(self, model: str = "base", prompt: object = MESSAGES) -> str:
        [draw] = await draw_all(self.set, EngineRequest(model, prompt, {"n": 1}))
        return draw.rollout.text

    def up(self) -> list[str]:
        return [replica.name for replica in self.set.replicas if replica.up]


@asynccontextmanager
async def replicas(count: int) -> AsyncIterator[Replicas]:
    made = Replicas(count)
    task = asyncio.create_task(made.set.run())
    await until(lambda: len(made.up()) == count)
    yield made
    task.cancel()


async def test_prompts_that_begin_alike_prefer_one_replica() -> None:
    async with replicas(3) as three:
        assert len({await three.who() for _ in range(8)}) == 1
        prompts = [f"prompt number {i}" for i in range(40)]
        before = {prompt: await three.who(prompt=prompt) for prompt in prompts}
        assert set(before.values()) == {"e0", "e1", "e2"}
        three.engines["e1"].fault = EngineUnavailable("gone")
        await until(lambda: "e1" not in three.up())
        after = {prompt: await three.who(prompt=prompt) for prompt in prompts}
        moved = [prompt for prompt in prompts if before[prompt] != after[prompt]]
        assert all(before[prompt] == "e1" for prompt in moved)


async def test_a_busy_replica_is_passed_over() -> None:
    async with replicas(2) as two:
        favourite = await two.who()
        async with two.set.draw(EngineRequest("base", MESSAGES, {"n": 32})):
            assert await two.who() != favourite
        assert await two.who() == favourite
        assert all(replica.in_flight == 0 for replica in two.set.replicas)


async def test_a_failing_replica_costs_no_request() -> None:
    async with replicas(2) as two:
        favourite = await two.who()
        two.engines[favourite].fault = EngineUnavailable("gone")
        assert await two.who() != favourite
        assert favourite not in two.up()
        completion = await two.set.complete(EngineRequest("base", MESSAGES))
        assert completion["choices"][0]["message"]["content"] != favourite
        names = Names("id", "ratchet")
        async with two.set.stream(EngineRequest("base", MESSAGES), names) as batches:
            assert [event async for event in batches]
        two.engines[favourite].fault = None
        await until(lambda: favourite in two.up())
        assert await two.who() == favourite


async def test_who_fails_at_one_request_is_not_taken_out_for_it() -> None:
    async with replicas(1) as one:
        await until(lambda: one.up() == ["e0"])
        seen: list[bool] = []
        for _ in range(3):
            with pytest.raises(EngineFailed):
                async with one.set.draw(EngineRequest("base", MESSAGES)):
                    raise EngineFailed("an error event")
            seen.append(one.set.up)
        assert seen == [True] * 3
        with pytest.raises(EngineUnavailable):
            async with one.set.draw(EngineRequest("base", MESSAGES)):
                raise EngineUnavailable("broken off")
        assert not one.set.up


async def test_who_fails_at_one_request_is_probed_and_taken_out_if_it_is_gone() -> None:
    async with replicas(1) as one:
        await until(lambda: one.up() == ["e0"])
        with pytest.raises(EngineFailed):
            async with one.set.write(EngineRequest("base", MESSAGES)):
                one.engines["e0"].fault = EngineUnavailable("gone")
                raise EngineFailed("an error event")
        await until(lambda: not one.set.up)


async def test_only_when_none_is_left_it_fails() -> None:
    async with replicas(2) as two:
        for engine in two.engines.values():
            engine.fault = EngineUnavailable("gone")
        with pytest.raises(EngineUnavailable):
            await two.who()
        await until(lambda: not two.set.up)


async def test_a_mistake_of_the_client_is_not_tried_again() -> None:
    async with replicas(2) as two:
        for engine in two.engines.values():
            engine.fault = EngineRefused(400, "too long")
        with pytest.raises(EngineRefused):
            await two.who()


async def test_requests_go_where_the_version_is() -> None:
    async with replicas(2) as two:
        await two.set.load("v1", "folder")
        assert {"v1"} <= {*two.engines["e0"].adapters, *two.engines["e1"].adapters}
        favourite = await two.who("v1")
        engine = two.engines[favourite]
        engine.adapters.clear()  # restarted between two probes
        returned = two.returned
        assert await two.who("v1") != favourite
        assert two.returned == returned + 1  # whoever restores versions is told
        assert await two.set.models() == ["base"]
        await two.set.load("v1", "folder")
        assert await two.who("v1") == favourite


async def test_a_replica_that_comes_back_is_asked_what_it_still_holds() -> None:
    async with replicas(2) as two:
        await two.set.load("v1", "folder")
        favourite = await two.who("v1")
        engine = two.engines[favourite]
        engine.fault = EngineUnavailable("gone")
        await until(lambda: favourite not in two.up())
        engine.adapters.clear()
        engine.fault = None
        await until(lambda: favourite in two.up())
        assert await two.who("v1") != favourite


async def test_loading_fails_where_one_replica_cannot() -> None:
    async with replicas(2) as two:
        two.engines["e1"].fault = EngineRefused(400, "no such folder")
        with pytest.raises(EngineRefused):
            await two.set.load("v1", "folder")


async def test_replicas_that_run_other_weights_are_found_out() -> None:
    async with replicas(2) as two:
        assert await two.set.score("base", [1, 2, 3]) == [-1.0, -1.0]
        two.engines["e1"].scores = lambda _, tokens: [-1.5] * (len(tokens) - 1)
        with pytest.raises(EngineReplyInvalid, match="differ"):
            await two.set.score("base", [1, 2, 3])


async def test_metrics_name_the_replicas(tmp_path: Path) -> None:
    async with replicas(2) as two:
        two.engines["e0"].fault = EngineUnavailable("gone")
        await until(lambda: two.up() == ["e1"])
        exposed = two.metrics.expose()
        assert b'ratchet_engine_up{replica="e0"} 0.0' in exposed
        assert b'ratchet_engine_up{replica="e1"} 1.0' in exposed
