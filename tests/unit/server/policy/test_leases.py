import asyncio

import pytest

from server.policy.leases import Policy, UnknownModel


def policy() -> Policy:
    p = Policy("m", "base")
    p.add(3, "v3-abc")
    return p


def test_names() -> None:
    p = policy()
    for name, version in (("m", 0), ("m@base", 0), ("m@v3", 3)):
        with p.lease(name) as lease:
            assert (lease.version, lease.pinned) == (version, name != "m")
    for name in ("", "base", "v3-abc", "m@v4", "m@v03", "m@", "M"):
        with pytest.raises(UnknownModel), p.lease(name):
            pass


async def test_a_flip_leaves_leases_alone_and_drain_waits_for_them() -> None:
    p = policy()
    with p.lease("m") as before:
        p.switch(3)
        with p.lease("m") as after:
            assert (before.version, after.version) == (0, 3)
        draining = asyncio.create_task(p.drained(0))
        await asyncio.sleep(0)
        assert not draining.done()
        assert p.held == 1
    await asyncio.wait_for(draining, 1)
    assert p.held == 0


async def test_nothing_to_drain() -> None:
    await asyncio.wait_for(policy().drained(3), 1)


def test_cannot_switch_to_what_is_not_loaded() -> None:
    with pytest.raises(UnknownModel):
        policy().switch(9)
