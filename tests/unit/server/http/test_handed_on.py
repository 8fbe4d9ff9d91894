"""Embeddings and tokens: the engine's own replies, behind our keys, quotas and limits."""

from pathlib import Path
from typing import Any

import pytest

from server.api.tenants import add_key
from server.engine.base import EngineUnavailable
from tests.serving import Api, serving


async def test_embeddings(api: Api) -> None:
    body = {"model": "ratchet", "input": ["a", "b"], "encoding_format": "float", "user": "u"}
    reply = await api.client.post("/v1/embeddings", json={**body, "dimensions": None})
    assert reply.status_code == 200
    assert reply.json()["model"] == "ratchet"
    assert float(reply.headers["x-ratchet-overhead-ms"]) >= 0
    [asked] = api.engine.requests
    assert asked == {
        "service": "embeddings", "model": "base", "input": ["a", "b"], "encoding_format": "float",
    }  # fmt: skip


async def test_tokens_and_back(api: Api) -> None:
    reply = (await api.client.post("/tokenize", json={"prompt": "2+2="})).json()
    assert (reply["count"], reply["tokens"]) == (4, list(b"2+2="))
    chat = [{"role": "user", "content": "hi", "id": 5}]
    body = {"model": "ratchet@base", "messages": chat, "add_generation_prompt": True}
    assert (await api.client.post("/tokenize", json=body)).status_code == 200
    assert api.engine.requests[-1]["messages"] == [{"role": "user", "content": "hi"}]
    tokens = {"tokens": list(b"2+2")}
    assert (await api.client.post("/detokenize", json=tokens)).json() == {"prompt": "2+2"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": 5}, "input"),
        ("/v1/embeddings", {"input": "a", "messages": []}, "messages"),
        ("/v1/embeddings", {"input": "a", "colour": 1}, "colour"),
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user"}]}, "prompt"),
        ("/tokenize", {"prompt": ["a"]}, "prompt"),
        ("/detokenize", {"tokens": ["a"]}, "tokens.0"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0"),
    ],
)
async def test_mistakes_are_named(api: Api, path: str, body: dict[str, Any], param: str) -> None:
    reply = await api.client.post(path, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert api.engine.requests == []


async def test_faults_have_their_status(api: Api) -> None:
    body = {"prompt": "a"}
    assert (await api.client.post("/tokenize", json={**body, "model": "x"})).status_code == 404
    api.engine.fault = EngineUnavailable("gone")
    assert (await api.client.post("/tokenize", json=body)).status_code == 503
    assert api.at_rest


async def test_they_are_behind_keys_quotas_and_limits(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add_key(file, "ada", tokens_per_minute=5)
    async with serving(keys_file=file, max_body_bytes=1_000) as api:
        for path in ("/v1/embeddings", "/tokenize", "/detokenize"):
            assert (await api.client.post(path, json={})).status_code == 401
        headers = {"authorization": f"Bearer {key}"}
        long = await api.client.post("/tokenize", json={"prompt": "a" * 1_000}, headers=headers)
        assert long.status_code == 413
        first = await api.client.post("/tokenize", json={"prompt": "a" * 20}, headers=headers)
        second = await api.client.post("/tokenize", json={"prompt": "a"}, headers=headers)
        assert (first.status_code, second.status_code) == (200, 429)
