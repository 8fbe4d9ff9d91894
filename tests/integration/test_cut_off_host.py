"""The host of an engine replica is cut off under load: packets to it vanish, nothing is refused.

Hosts are network namespaces.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from evals.arithmetic.questions import questions
from loadtests.gate_bench import Judge
from loadtests.hosts.network import Host, Network
from server.api.requests import ChatRequest
from server.vote.completions import Stopwatch
from server.vote.session import Caller
from tests.processes import end_all

PORT, CLIENTS, AFTER, SECONDS = 8100, 4, 12, 40.0
WITHIN = 15.0
"""Seconds in which a request that was under way on the lost host is answered by another."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.needs("hosts"),
]


@contextmanager
def upstreams(network: Network) -> Iterator[list[Host]]:
    """Two hosts with a canned engine each, 0.4 s a rollout."""
    hosts = [network.host(name) for name in ("one", "two")]
    module = [sys.executable, "-m", "loadtests.serving_upstream"]
    flags = ["--host", "0.0.0.0", "--port", str(PORT), "--shape", "streamed"]
    started = [subprocess.Popen(host.command([*module, *flags])) for host in hosts]
    try:
        yield hosts
    finally:
        end_all([process.pid for process in started])
        for process in started:
            process.wait()


async def lose_one(hosts: list[Host], folder: Path) -> tuple[float, int]:
    """Cut a host off while clients ask, and heal it once enough was answered; returns the longest
    wait of a client, and the rollouts that were under way there."""
    addresses = ",".join(f"http://{host.address}:{PORT}" for host in hosts)
    longest, answered, enough = 0.0, 0, asyncio.Event()
    asked = iter(questions(3, 2000))
    clock = asyncio.get_running_loop().time
    async with Judge.at(addresses, folder) as judge:
        parts = judge.parts
        watching = asyncio.create_task(parts.engine.run())

        async def client() -> None:
            nonlocal longest, answered
            while not enough.is_set():
                message = {"role": "user", "content": next(asked).text}
                body = {"model": "ratchet", "messages": [message],
                        "ratchet": {"rollouts": 4, "train": False}}  # fmt: skip
                began = clock()
                await parts.completions.reply(
                    ChatRequest.model_validate(body), Caller(), Stopwatch()
                )
                longest, answered = max(longest, clock() - began), answered + 1

        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):  # a failed request would end it
                clients.create_task(client())
            first = next(r for r in parts.engine.replicas if r.name.startswith(hosts[0].address))
            while not (first.up and first.in_flight and answered >= AFTER):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(hosts[0].cut)
            lost = first.in_flight
            while first.up or first.in_flight:
                await asyncio.sleep(0.01)
            before = answered
            while answered < before + AFTER:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(hosts[0].heal)
            while not (first.up and first.in_flight):  # it is used again
                await asyncio.sleep(0.01)
            enough.set()
        watching.cancel()
    return longest, lost


def test_what_was_under_way_on_a_lost_host_is_answered_by_another(tmp_path: Path) -> None:
    with Network() as network, upstreams(network) as hosts:
        here = network.host("operator")

        def elsewhere() -> tuple[float, int]:
            here.enter()
            return asyncio.run(lose_one(hosts, tmp_path))

        with ThreadPoolExecutor(1) as thread:  # which alone moves into the namespace
            longest, lost = thread.submit(elsewhere).result()
    print(f"{lost} rollouts were under way on the host; the longest wait was {longest:.1f} s")
    assert lost, "nothing was under way there: it shows nothing"
    assert longest < WITHIN
