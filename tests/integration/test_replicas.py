"""Two real vLLM replicas behind one server: one release on both, and one killed under load."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.store.releases import ReleaseState
from evals.arithmetic.questions import questions
from loadtests.gate_bench import Judge, copied
from server.api.requests import ChatRequest
from server.vote.completions import Stopwatch
from server.vote.session import Caller
from tests.engines import EngineProcess, running_engine

CLIENTS, AFTER = 6, 24


@pytest.mark.integration
@pytest.mark.lane("engine", 4)
@pytest.mark.timeout(300)
async def test_one_of_two_is_killed_under_load(
    tmp_path: Path, adapters: Callable[[str], Path], shared_engine: EngineProcess
) -> None:
    with running_engine(tmp_path) as second:
        engines = {one.url: one for one in (shared_engine, second)}
        second.wait()
        async with Judge.at(",".join(engines), tmp_path / "adapters") as judge:
            parts = judge.parts
            release = await judge.decide(copied(adapters("honest")))
            assert release.state is ReleaseState.LIVE, release.reason
            assert release.folder in shared_engine.models() & second.models()

            watching = asyncio.create_task(parts.engine.run())
            asked = iter(questions(3, 500))
            answered: list[int] = []
            used: set[str] = set()
            enough = asyncio.Event()

            async def client() -> None:
                while not enough.is_set():
                    message = {"role": "user", "content": next(asked).text}
                    body = {"model": "ratchet", "messages": [message], "max_tokens": 32,
                            "ratchet": {"rollouts": 8, "train": False}}  # fmt: skip
                    request = ChatRequest.model_validate(body)
                    reply = await parts.completions.reply(request, Caller(), Stopwatch())
                    answered.append(reply["ratchet"]["policy_version"])
                    used.update(r.name for r in parts.engine.replicas if r.in_flight)

            async with asyncio.TaskGroup() as clients:  # a failed request would end it
                for _ in range(CLIENTS):
                    clients.create_task(client())
                while len(answered) < 12:
                    await asyncio.sleep(0.01)
                assert len(used) == 2
                victim = next(r for r in parts.engine.replicas if r.in_flight)
                in_flight, before = victim.in_flight, len(answered)
                engines[f"http://{victim.name}"].kill()
                while len(answered) < before + AFTER:
                    await asyncio.sleep(0.01)
                enough.set()
            watching.cancel()
            print(f"{in_flight} rollouts were in flight on the replica killed; 0 requests failed")
            assert set(answered) == {1}  # one version, whoever answered
            assert not victim.up
