"""What happens to the fleet while clients ask, and what they notice of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from adapter.store.releases import ReleaseState
from loadtests.hosts.fleet import Answer, Fleet

Fault = Callable[[Fleet, float], Awaitable[Mapping[str, float]]]
_HEAL_SECONDS = 120.0
_SLOW_KBIT = 128


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault, how long it lasted until all was well again, what was asked meanwhile, and what was
    measured beside, by name."""

    name: str
    seconds: float
    answers: Sequence[Answer]
    measured: Mapping[str, float]

    @property
    def failed(self) -> int:
        return sum(bool(answer.failed) for answer in self.answers)

    @property
    def retried(self) -> int:
        return sum(answer.tries > 0 for answer in self.answers)

    def quantile(self, share: float) -> float:
        """Seconds that so many of the answers took at most."""
        ordered = sorted(answer.seconds for answer in self.answers)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def play(fleet: Fleet, name: str, fault: Fault, seconds: float) -> Phase:
    """One fault; waits until every question that was asked in it is over."""
    began = time.time()
    measured = await fault(fleet, seconds)
    ended = time.time()

    async def all_answered() -> bool:
        """Whether every client has asked again since: then what it asked before is answered."""
        return len({one.client for one in fleet.answers(ended, time.time())}) == fleet.clients

    await fleet.until("what was asked is answered", all_answered, _HEAL_SECONDS)
    return Phase(name, ended - began, fleet.answers(began, ended), measured)


async def quiet(_: Fleet, seconds: float) -> Mapping[str, float]:
    """Nothing happens, but that it learns."""
    await asyncio.sleep(seconds)
    return {}


async def engine_cut_off(fleet: Fleet, seconds: float) -> Mapping[str, float]:
    """A real engine cannot be reached."""
    return await _engine(fleet, "engine1", seconds)


async def server_cut_off(fleet: Fleet, seconds: float) -> Mapping[str, float]:
    """A server cannot be reached, nor reach anything."""
    host = fleet.host("server1")
    host.cut()
    await asyncio.sleep(seconds)
    host.heal()
    server = fleet.members["server1"]
    back = await fleet.until("server1 is ready", lambda: fleet.ready(server), _HEAL_SECONDS)
    return {"ready again, s": back, "on the live version, s": back + await _agreed(fleet)}


async def redis_cut_off(fleet: Fleet, seconds: float) -> Mapping[str, float]:
    """Redis cannot be reached: answers go on, learning waits."""
    before = len(await fleet.releases())
    recorded = await fleet.total(_RECORDED)
    fleet.host("redis").cut()
    await asyncio.sleep(seconds)
    fleet.host("redis").heal()

    async def recording() -> bool:
        return await fleet.total(_RECORDED) > recorded + 4

    async def learning() -> bool:
        return len(await fleet.releases()) > before

    recording_again = await fleet.until("groups are recorded", recording, _HEAL_SECONDS)
    more = await fleet.until("a version is published", learning, _HEAL_SECONDS)
    return {"recording again, s": recording_again, "published again, s": recording_again + more}


async def rank_cut_off(fleet: Fleet, seconds: float) -> Mapping[str, float]:
    """One of the learner's two ranks cannot be reached."""
    restarts = fleet.restarts
    fleet.host("learner1").cut()
    await asyncio.sleep(seconds)
    fleet.host("learner1").heal()
    before = len(await fleet.releases())

    async def learning() -> bool:
        return len(await fleet.releases()) > before + 1

    back = await fleet.until("two versions are published", learning, 2 * _HEAL_SECONDS)
    return {"two more published, s": back, "restarts": float(fleet.restarts - restarts)}


async def engine_slowed(fleet: Fleet, seconds: float) -> Mapping[str, float]:
    """The other real engine is behind a line of 128 kbit/s."""
    host = fleet.host("engine0")
    host.slow(_SLOW_KBIT)
    await asyncio.sleep(seconds)
    host.hasten()
    return {"on the live version, s": await _agreed(fleet)}


async def rolling_update(fleet: Fleet, _: float) -> Mapping[str, float]:
    """Every server ends as told and is started again, one after the other, while a candidate is
    judged: whoever is left judges it."""

    async def judging() -> bool:
        states = [release.state for release in await fleet.releases()]
        return ReleaseState.CANDIDATE in states

    await fleet.until("a candidate waits", judging, _HEAL_SECONDS)
    live, took = max(await fleet.live()), list[float]()
    for server in fleet.servers:
        began = time.monotonic()
        await asyncio.to_thread(server.end, _HEAL_SECONDS)
        server.start()
        await fleet.until("it is ready", lambda server=server: fleet.ready(server), _HEAL_SECONDS)
        took.append(time.monotonic() - began)

    async def next_live() -> bool:
        seen = await fleet.live()
        return min(seen) > live

    more = await fleet.until("the next version is live everywhere", next_live, 2 * _HEAL_SECONDS)
    return {"a server at most, s": max(took), "the next version is live after, s": more}


async def _engine(fleet: Fleet, name: str, seconds: float) -> Mapping[str, float]:
    host = fleet.host(name)
    host.cut()
    down = await fleet.until(
        f"{name} is missed", lambda: fleet.all_see(name, up=False), _HEAL_SECONDS
    )
    await asyncio.sleep(max(0.0, seconds - down))
    host.heal()
    up = await fleet.until(f"{name} is back", lambda: fleet.all_see(name, up=True), _HEAL_SECONDS)
    return {"missed after, s": down, "used again, s": up, "agreed, s": up + await _agreed(fleet)}


async def _agreed(fleet: Fleet) -> float:
    """Seconds until all servers answer with one version."""

    async def one_version() -> bool:
        return len(set(await fleet.live())) == 1

    return await fleet.until("all servers have one version", one_version, _HEAL_SECONDS)


_RECORDED = "ratchet_groups_offered_total:recorded"

FAULTS: Mapping[str, Fault] = {
    "nothing": quiet,
    "an engine cut off": engine_cut_off,
    "an engine slowed": engine_slowed,
    "a server cut off": server_cut_off,
    "Redis cut off": redis_cut_off,
    "a rank of the learner cut off": rank_cut_off,
    "rolling update of the servers": rolling_update,
}
