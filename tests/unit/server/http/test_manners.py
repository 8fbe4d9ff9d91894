"""HTTP manners: other origins, HEAD and OPTIONS, and streams that proxies and decoders survive."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

import server.vote.completions as completions
from server.api.tenants import add_key
from tests.serving import Api, serving, until

ORIGIN = {"origin": "https://app.example"}
ASKED = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-os",
}
CHAT = "/v1/chat/completions"


async def test_no_other_origin_may_ask_by_default(api: Api) -> None:
    preflight = await api.client.options(CHAT, headers={**ORIGIN, **ASKED})
    reply = await api.client.get("/v1/models", headers=ORIGIN)
    for headers in (preflight.headers, reply.headers):
        assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [("*", "*"), ("https://other.example, https://app.example/", ORIGIN["origin"])],
)
async def test_an_origin_that_is_named_may_ask(tmp_path: Path, listed: str, allowed: str) -> None:
    add_key(tmp_path / "keys", "ada")
    async with serving(cors_origins=listed, keys_file=tmp_path / "keys") as api:
        preflight = await api.client.options(CHAT, headers={**ORIGIN, **ASKED})
        assert preflight.status_code == 204  # without a key: browsers send none
        assert preflight.headers["access-control-allow-origin"] == allowed
        assert "POST" in preflight.headers["access-control-allow-methods"]
        given = preflight.headers["access-control-allow-headers"]
        assert given == ASKED["access-control-request-headers"]
        refused = await api.client.post(CHAT, headers=ORIGIN, json={})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == allowed
        assert "x-request-id" in refused.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in refused.headers


async def test_another_origin_may_not() -> None:
    async with serving(cors_origins="https://app.example") as api:
        other = {"origin": "https://evil.example"}
        preflight = await api.client.options(CHAT, headers={**other, **ASKED})
        reply = await api.client.get("/v1/models", headers=other)
        for headers in (preflight.headers, reply.headers):
            assert "access-control-allow-origin" not in headers
            assert headers["vary"] == "origin"


@pytest.mark.parametrize("path", ["/v1/models", "/livez", "/readyz", "/metrics", "/", "/nowhere"])
async def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    head, get = await api.client.head(path), await api.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["x-request-id"].startswith("req_")


async def test_head_needs_a_key_too(tmp_path: Path) -> None:
    add_key(tmp_path / "keys", "ada")
    async with serving(keys_file=tmp_path / "keys") as api:
        assert (await api.client.head("/v1/models")).status_code == 401
        text = (await api.client.get("/metrics")).text
        assert 'ratchet_requests_total{route="other",status="401"} 1.0' in text


async def test_options_names_the_methods(api: Api) -> None:
    reply = await api.client.options(CHAT)
    assert (reply.status_code, reply.headers["allow"], reply.content) == (204, "POST", b"")
    assert (await api.client.options("/nowhere")).status_code == 404
    assert (await api.client.head(CHAT)).status_code == 405


@pytest.mark.parametrize("extra", [{}, {"ratchet": {"rollouts": 1}}])
async def test_no_proxy_keeps_a_stream_back(api: Api, extra: dict[str, Any]) -> None:
    reply = await api.chat(stream=True, **extra)
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-accel-buffering"] == "no"


def by_lines(sent: str) -> list[Any]:
    """As openai-go read streams until August 2026: an empty line ends an event, whatever it has,
    and an event without data is an error."""
    events, data = list[Any](), ""
    for line in sent.split("\n")[:-1]:
        if not line:
            assert data, "an event without data"
            events.append(data.strip())
            data = ""
        elif line.startswith("data:"):
            data += line[5:]
    return events


def by_events(sent: str) -> list[Any]:
    """As vLLM's bench reads them: what a comment stands before is a comment."""
    blocks = [block.strip() for block in sent.split("\n\n")]
    return [b.removeprefix("data: ") for b in blocks if b and not b.startswith(":")]


@pytest.mark.parametrize("decoder", [by_lines, by_events])
@pytest.mark.parametrize("shown", ["vote", "progress", "first", "several"])
async def test_the_strictest_decoders_survive_comments(
    api: Api, monkeypatch: pytest.MonkeyPatch, decoder: Any, shown: str
) -> None:
    monkeypatch.setattr(completions, "KEEP_ALIVE_SECONDS", 0.001)
    api.says(r"\boxed{4}")
    held = 1 if shown == "first" else 0
    api.hold_back(*range(held, 4))
    if shown == "several":
        asking = api.text(prompt=["a", "b"], stream=True)
    else:
        asking = api.text(stream=True, ratchet={"stream": shown})
    answering = asyncio.create_task(asking)
    await until(lambda: api.engine.under_way)
    await asyncio.sleep(0.02)
    api.let_go(*range(held, 4))
    sent = (await answering).text
    assert ": keep-alive\n" in sent
    *chunks, done = decoder(sent)
    assert done == "[DONE]"
    read = [orjson.loads(chunk) for chunk in chunks]
    texts = ["".join(c["text"] for chunk in read for c in chunk["choices"] if c["index"] == at)
             for at in range(2 if shown == "several" else 1)]  # fmt: skip
    assert set(texts) == {r"\boxed{4}"}
    assert read[-1]["ratchet"]["answer"] == "4"
