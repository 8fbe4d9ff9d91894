"""What a web page could have a browser send, and what it is told."""

from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from adapter.store.memory_releases import MemoryReleases
from server.api.tenants import add_key
from server.http.admin import create_admin
from server.settings import ServerSettings
from tests.serving import QUESTION, Api, serving

ASK = {"model": "ratchet", "messages": QUESTION}
JSON = ("content-type", "application/json")


async def ask(api: Api, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> int:
    """The status of a question with these headers; content-type is sent only if it is given."""
    request = api.client.build_request("POST", path, json=ASK)
    del request.headers["content-type"]
    given = [(name, value) for name, value in request.headers.items() if name != "host"]
    hosts = [("host", "localhost:8000")] if "host" not in dict(headers) else []
    request.headers = httpx.Headers([*hosts, *given, *headers])
    return (await api.client.send(request)).status_code


@pytest.mark.parametrize(
    "host",
    ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "server", "a.localhost:1",
     "10.0.0.7:80", "localhost.", "host.docker.internal:8000", "nas.local", "pc.home.arpa"],
)  # fmt: skip
async def test_addresses_and_bare_names_are_let_in(host: str) -> None:
    async with serving() as api:
        assert (await api.client.get("/live", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8000", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
     "evil.example.", "EVIL.example:1", "[::1].evil.example", "127.0.0.1:8000.evil.example",
     "user@evil.example", "1.2.3.4.5",
     "internal.evil.example", "local.com", "xlocal.com", "my.lan"],
)  # fmt: skip
async def test_another_name_on_an_open_local_server_is_misdirected(host: str) -> None:
    async with serving(page_texts=True) as api:
        for path in ("/live", "/", "/v1/models", "/metrics", "/nowhere"):
            reply = await api.client.get(path, headers={"host": host})
            assert reply.status_code in (400, 421), path
            assert "2+2" not in reply.text
        assert await ask(api, ("host", host), JSON) in (400, 421)
        twice = [("host", "localhost"), ("host", host)]
        assert await ask(api, *twice, JSON) in (400, 421)
        assert not api.engine.requests


async def test_servers_with_keys_or_for_others_are_reached_by_any_name(tmp_path: Path) -> None:
    keys = tmp_path / "keys.jsonl"
    bearer = ("authorization", f"Bearer {add_key(keys, 'ada')}")
    async with serving(keys_file=keys) as api:
        assert await ask(api, ("host", "ai.example.com"), bearer, JSON) == 200
    async with serving(host="0.0.0.0") as api:
        assert await ask(api, ("host", "ai.example.com"), JSON) == 200


async def test_names_that_the_operator_allows(tmp_path: Path) -> None:
    keys = tmp_path / "keys.jsonl"
    bearer = ("authorization", f"Bearer {add_key(keys, 'ada')}")
    for more in ({}, {"host": "0.0.0.0"}, {"keys_file": keys}):
        async with serving(allowed_hosts="AI.example.com, b.example", **more) as api:
            assert await ask(api, ("host", "ai.example.com:443"), bearer, JSON) == 200
            assert await ask(api, ("host", "c.example"), bearer, JSON) == 421
            origin = ("origin", "https://b.example")
            assert await ask(api, ("host", "ai.example.com"), origin, bearer, JSON) == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://localhost.evil.example", "file://", "http://6.6.6.6",
     "http://localhost:8000@evil.example", "chrome-extension://localhost", "http://localhost/x"],
)  # fmt: skip
async def test_a_page_of_another_origin_cannot_ask(origin: str) -> None:
    async with serving() as api:
        for kind in ("application/json", "text/plain"):
            headers = [("origin", origin), ("content-type", kind)]
            assert await ask(api, *headers) == 403
            assert await ask(api, ("origin", "http://localhost:8000"), *headers) == 403
        assert (await api.client.get("/live", headers={"origin": origin})).status_code == 403
        assert not api.engine.requests and len(api.parts.reservoir) == 0


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8000", "http://127.0.0.1:3000", "http://[::1]:80", "HTTP://LOCALHOST"],
)
async def test_the_page_itself_and_others_of_this_machine_can(origin: str) -> None:
    async with serving() as api:
        assert await ask(api, ("origin", origin), JSON) == 200


async def test_an_open_server_for_others_answers_its_own_pages_alone() -> None:
    async with serving(host="0.0.0.0") as api:
        host = ("host", "ai.example.com")
        assert await ask(api, host, ("origin", "https://ai.example.com"), JSON) == 200
        for origin in ("https://evil.example", "http://localhost:3000", "null"):
            assert await ask(api, host, ("origin", origin), JSON) == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
     "text/plain; application/json", "application/jsonp", "json", "text/json"],
)  # fmt: skip
async def test_only_json_is_read(kind: str) -> None:
    async with serving() as api:
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/feedback", "/v1/nowhere"):
            assert await ask(api, ("content-type", kind), path=path) == 415
            assert await ask(api, JSON, ("content-type", kind), path=path) == 415
        assert not api.engine.requests


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]
)
async def test_json_by_any_of_its_names(kind: str) -> None:
    async with serving() as api:
        assert await ask(api, ("content-type", kind)) == 200


async def test_a_program_need_not_name_the_type_but_a_page_must() -> None:
    """A page can send a body without a type, and never without its origin."""
    async with serving() as api:
        assert await ask(api) == 200
        assert await ask(api, ("origin", "http://localhost:8000")) == 415


@pytest.mark.parametrize("first", [True, False])
async def test_of_two_keys_the_first_counts_at_either_port(tmp_path: Path, first: bool) -> None:
    keys = tmp_path / "keys.jsonl"
    good = ("authorization", f"Bearer {add_key(keys, 'ada')}")
    both = [good, ("authorization", "Bearer bad")]
    async with serving(keys_file=keys) as api:
        assert await ask(api, *(both if first else both[::-1]), JSON) == (200 if first else 401)
    transport = httpx.ASGITransport(create_admin(MemoryReleases(), "k" * 16))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        both = [("authorization", "Bearer " + "k" * 16), ("authorization", "Bearer bad")]
        reply = await client.get("/releases", headers=both if first else both[::-1])
        assert reply.status_code == (200 if first else 401)


@pytest.mark.parametrize("key", ["", " ", "short", "x" * 15])
def test_an_admin_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="admin_key"):
        ServerSettings(admin_key=key)


def test_a_long_admin_key_will_do() -> None:
    assert ServerSettings(admin_key="x" * 16).admin_key is not None
    assert ServerSettings().admin_key is None


async def test_admin_texts_are_bounded() -> None:
    store = MemoryReleases()
    transport = httpx.ASGITransport(create_admin(store, "k" * 16))  # type: ignore[arg-type]
    headers = {"authorization": "Bearer " + "k" * 16}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://t", headers=headers
    ) as client:
        for size, status in ((500, 200), (501, 400), (30 << 20, 413)):
            reply = await client.post("/pause", json={"reason": "x" * size})
            assert reply.status_code == status, size
    assert await store.paused() == "x" * 500
