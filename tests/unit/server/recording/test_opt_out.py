"""Whoever does not want to teach is answered, and nothing of it stays."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapter.store.buffer import BufferLimits
from adapter.store.clients import pseudonym
from adapter.store.memory_buffer import MemoryBuffer
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from server.parts import Parts
from tests.serving import QUESTION, Api, serving, until


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
    assert api.parts.feedback.unstored == 0
    [completion] = set(re.findall(r"chatcmpl-\w+", reply.text))
    label = {"completion_id": completion, "label": "4"}
    assert (await api.client.post("/v1/feedback", json=label)).status_code == 404


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


SECRET = [{"role": "user", "content": "Zanzibarquux?"}]


def kept_in(parts: Parts) -> str:
    """All that a server's memory holds of answers."""
    memory = [parts.reservoir.draw(999), parts.recent.after(0, texts=True)]
    store = parts.feedback_store
    return repr([*memory, vars(store), vars(parts.feedback), vars(parts.promoter.trial.probes)])


@pytest.mark.parametrize("who", ["alice/1", "alice"])
@pytest.mark.parametrize(
    "body", [{}, {"stream": True}, {"stream": True, "ratchet": {"stream": "progress"}}]
)
async def test_opting_out_while_a_question_is_under_way(body: dict[str, Any], who: str) -> None:
    async with serving(page_texts=True) as api:
        api.says("The answer is Zanzibarquux.")
        api.hold_back(1, 2, 3)
        asking = asyncio.create_task(api.chat(user="alice/1", messages=SECRET, **body))
        await until(lambda: api.engine.under_way)
        await api.parts.buffer.opt_out(pseudonym(who))
        await api.parts.recorder.check()
        api.let_go(1, 2, 3)
        reply = await asking
        assert '"reason":"opted_out"' in reply.text and '"recorded":false' in reply.text
        assert await api.recorded() == 0
        await until(lambda: not api.parts.feedback.unstored)
        assert "Zanzibarquux" not in kept_in(api.parts)
        assert await api.parts.buffer.confirmations(pseudonym(who)) == {
            api.parts.recorder.name: {"queries": 0, "texts": 0, "groups": 0, "answers": 0}
        }


async def test_opting_out_between_the_reply_and_the_last_rollout() -> None:
    async with serving(page_texts=True) as api:
        api.says("The answer is Zanzibarquux.")
        api.hold_back(3)
        reply = (await api.chat(user="alice", messages=SECRET)).json()
        assert reply["ratchet"]["recorded"]
        assert api.engine.under_way
        await api.parts.buffer.opt_out(pseudonym("alice"))
        await api.parts.recorder.check()
        api.let_go(3)
        assert await api.recorded() == 0
        assert "Zanzibarquux" not in kept_in(api.parts)


async def test_a_server_s_memory_is_cleared_and_says_of_what() -> None:
    async with serving(page_texts=True, train_rollouts=8) as api:
        api.says("The answer is Zanzibarquux.")
        with api.occupied(300_000):  # no room for top-ups
            for user in ("alice/1", "alice/2", "bob"):
                await api.chat(user=user, messages=[{"role": "user", "content": f"{user}?"}])
            await until(lambda: len(api.parts.reservoir) == 3 and not api.parts.feedback.unstored)
            api.parts.promoter.trial.probes.refresh()
            assert len(api.parts.promoter.trial.probes.probes(0, 3)) == 3
            await api.parts.buffer.opt_out(pseudonym("alice"))
            await api.parts.recorder.check()
            assert "alice/" not in kept_in(api.parts) and "bob?" in kept_in(api.parts)
            said = await api.parts.buffer.confirmations(pseudonym("alice"))
            assert said == {
                api.parts.recorder.name: {"queries": 2, "texts": 2, "groups": 2, "answers": 2}
            }
            assert {p.query.client for p in api.parts.promoter.trial.probes.probes(0, 3)} == {
                pseudonym("bob")
            }
        assert await api.recorded() == 1
        await until(lambda: api.at_rest)
