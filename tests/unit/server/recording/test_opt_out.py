"""Whoever does not want to teach is answered, and nothing of it stays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapter.store.buffer import BufferLimits
from adapter.store.clients import pseudonym
from adapter.store.memory_buffer import MemoryBuffer
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.serving import QUESTION, Api, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        yield made


@pytest.mark.parametrize("value", ["false", "False", " false ", "0", "no", "", "flase"])
async def test_the_header_keeps_a_request_out(api: Api, value: str) -> None:
    """Whatever is not `true`: a slip of the pen must not teach."""
    reply = await api.client.post(
        "/v1/chat/completions",
        json={"model": "ratchet", "messages": QUESTION},
        headers=[("x-ratchet-train", "true"), ("x-ratchet-train", value)],
    )
    assert reply.json()["ratchet"]["reason"] == "opted_out"
    assert len(api.parts.reservoir) == 0


async def test_the_header_may_say_true(api: Api) -> None:
    reply = await api.client.post(
        "/v1/chat/completions",
        json={"model": "ratchet", "messages": QUESTION},
        headers={"x-ratchet-train": "True"},
    )
    assert reply.json()["ratchet"]["recorded"]


@pytest.mark.parametrize("body", [{}, {"stream": True}, {"n": 2}, {"seed": 3}])
@pytest.mark.parametrize("how", ["store", "ratchet", "header", "client"])
async def test_opting_out_is_honoured_on_every_path(
    api: Api, body: dict[str, Any], how: str
) -> None:
    headers = {"x-ratchet-train": "false"} if how == "header" else {}
    body = {"model": "ratchet", "messages": QUESTION, "user": "alice", **body}
    if how == "store":
        body["store"] = False
    elif how == "ratchet":
        body["ratchet"] = {"train": False}
    elif how == "client":
        await api.parts.buffer.opt_out(pseudonym("alice"))
        await api.parts.recorder.check()
    reply = await api.client.post("/v1/chat/completions", json=body, headers=headers)
    assert '"reason":"opted_out"' in reply.text
    assert await api.recorded() == 0
    assert len(api.parts.reservoir) == 0


async def test_who_opts_out_is_refused_whatever_the_server_knows_and_then_forgotten(
    api: Api,
) -> None:
    for user, content in (("alice", "1+1?"), ("bob", "2+2?")):
        await api.chat(user=user, messages=[{"role": "user", "content": content}])
    assert await api.recorded() == 2
    await api.parts.buffer.opt_out(pseudonym("alice"))
    await api.chat(user="alice")  # the server's copy is older
    assert await api.recorded() == 2
    assert 'offered_total{outcome="opted_out"} 1.0' in (await api.client.get("/metrics")).text
    assert len(api.parts.reservoir) == 3
    await api.parts.recorder.check()
    assert len(api.parts.reservoir) == 1
    assert (await api.chat(user="bob")).json()["ratchet"]["recorded"]
    await api.parts.buffer.opt_in(pseudonym("alice"))
    await api.parts.recorder.check()
    assert (await api.chat(user="alice")).json()["ratchet"]["recorded"]


async def test_old_groups_expire_without_a_learner() -> None:
    buffer = MemoryBuffer(BufferLimits(retention_seconds=0.001))
    await buffer.append(
        RolloutGroup("g", "p", [1], [Rollout("7", [1], [-0.5], "stop")], 0, Sampling(), "c", 0.0)
    )
    async with asyncio.timeout(5), serving(buffer) as api:
        while (await buffer.state()).waiting:
            await asyncio.sleep(0.01)
        while "ratchet_buffer_expired_total 1.0" not in (await api.client.get("/metrics")).text:
            await asyncio.sleep(0.01)
