"""The operator's own listener."""

from collections.abc import AsyncIterator

import httpx
import pytest

from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease
from server.http.admin import create_admin


@pytest.fixture
async def admin() -> AsyncIterator[tuple[httpx.AsyncClient, MemoryReleases]]:
    store = MemoryReleases()
    token = await store.acquire(10)
    assert token
    for parent in (0, 1):
        version = await store.reserve()
        release = AdapterRelease(version, parent, f"v{version}-x", "0" * 64, ["g"], {}, 0.0)
        await store.publish(release, token)
        await store.promote(version, parent, "not worse")
    transport = httpx.ASGITransport(create_admin(store, "letmein"))  # type: ignore[arg-type]
    headers = {"authorization": "Bearer letmein"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://t", headers=headers
    ) as client:
        yield client, store


async def test_it_lists_and_shows(admin) -> None:
    client, _ = admin
    listed = (await client.get("/releases")).json()
    assert (listed["live"], listed["paused"]) == (2, None)
    assert [release["state"] for release in listed["releases"]] == ["retired", "live"]
    assert (await client.get("/releases/1")).json()["folder"] == "v1-x"
    assert (await client.get("/releases/9")).status_code == 404


async def test_it_moves_the_live_pointer(admin) -> None:
    client, store = admin
    assert (await client.post("/rollback")).json() == {"was": 2, "live": 1}
    assert await store.live() == 1
    assert (await client.post("/releases/2/promote")).json() == {"was": 1, "live": 2}
    assert (await client.post("/releases/7/promote")).status_code == 404
    assert await store.live() == 2


async def test_it_holds_candidates_back(admin) -> None:
    client, store = admin
    await client.post("/pause", json={"reason": "looking into it"})
    assert await store.paused() == "looking into it"
    assert (await client.post("/pause", json={"why": "x"})).status_code == 400
    await client.post("/resume")
    assert await store.paused() is None


@pytest.mark.parametrize("path", ["/releases", "/rollback", "/releases/2/promote", "/nowhere", "/"])
@pytest.mark.parametrize("key", [None, "Bearer wrong", "letmein", "Bearer letmein2", "Bearer "])
async def test_nothing_without_the_key(admin, path: str, key: str | None) -> None:
    client, store = admin
    del client.headers["authorization"]
    headers = {} if key is None else {"authorization": key}
    for verb in ("GET", "POST"):
        assert (await client.request(verb, path, headers=headers)).status_code == 401
    assert await store.live() == 2


@pytest.mark.parametrize("version", ["-1", "x", "1e3", str(2**70)])
async def test_a_version_that_is_none_is_a_400(admin, version: str) -> None:
    client, _ = admin
    assert (await client.get(f"/releases/{version}")).status_code == 400
