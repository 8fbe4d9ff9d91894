"""Requests that mean harm, on the real engine: each is that client's failure, and no one else's."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.api.tenants import add_key
from tests.engines import EngineProcess
from tests.gateway import Gateway
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.lane("engine", 1)]

JUNK = "j" * 3_900_000
DEEP: Any = {}
for _ in range(200):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


def said(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "What is 12+34?", **fields}]}


def shaped(schema: Any) -> dict[str, Any]:
    named = {"name": "x", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


ATTACKS: list[tuple[str, dict[str, Any], set[int]]] = [
    ("junk in a message", said(junk=JUNK), {400}),
    ("junk in a part", said(content=[{"type": "text", "text": "1", "junk": JUNK}]), {400}),
    ("user", {"user": JUNK}, {400}),
    ("stop", {"stop": JUNK}, {400}),
    ("template arguments", {"chat_template_kwargs": {"a": JUNK}}, {400}),
    ("a schema that is itself", shaped({"$ref": "#"}), {400, 502}),
    ("a schema of a circle", shaped({"$ref": "#/$defs/a", "$defs": {
        "a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}), {400, 502}),
    ("a schema elsewhere", shaped({"$ref": "http://127.0.0.1:1/x.json"}), {200, 400, 502}),
    ("a deep schema", shaped(DEEP), {400}),
    ("a schema of nothing", shaped({"not": {}}), {200, 400, 502}),
    ("an impossible schema", shaped({"type": "string", "minLength": 9, "maxLength": 1}),
     {200, 400, 502}),
    ("a broken expression", {"structured_outputs": {"regex": "(" * 50}}, {400, 502}),
    ("a slow expression", {"structured_outputs": {"regex": "(a+)+$"}}, {200, 400, 502}),
    ("a broken grammar", {"structured_outputs": {"grammar": "root ::= root"}}, {200, 400, 502}),
    ("two grammars", {"structured_outputs": {"regex": "a", "choice": ["b"]}}, {400, 502}),
    ("a choice of nothing", {"structured_outputs": {"choice": []}}, {400, 502}),
    ("a token that there is not", {"logit_bias": {"99999999": 1}}, {400}),
    ("tokens that there are not", {"allowed_token_ids": [99_999_999]}, {400, 502}),
    ("stop tokens that there are not", {"stop_token_ids": [2**31 - 1]}, {200, 400}),
    ("more at least than at most", {"max_tokens": 4, "min_tokens": 9}, {400}),
    ("a forced call", {"tools": [{"type": "function", "function": {"name": "f"}}],
                       "tool_choice": "required"}, {200, 400, 502}),
    ("a call of a strange form", {"messages": [
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}]},
        {"role": "user", "content": "1"}]}, {200, 400, 502}),
    ("another template", {"chat_template": "{{ messages }}"}, {400}),
    ("template arguments of ours", {"chat_template_kwargs": {"messages": []}}, {200, 400, 502}),
    ("a tensor", {"chat_template_kwargs": {"return_tensors": "pt"}}, {200, 400, 502}),
    ("too long a text", said(content="12 " * 100_000), {400}),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("served")


@pytest.fixture
def server(shared_engine: EngineProcess, folder: Any) -> Iterator[Gateway]:
    settings = {"redis_url": "memory://", "engine_url": shared_engine.url, "rollouts": 2}
    made = Gateway(folder, [], **settings)
    made.start()
    yield made
    made.kill()


def ask(server: Gateway, key: str = "none", **fields: Any) -> httpx.Response:
    body = {"model": "ratchet", "max_tokens": 8, **said(), **fields}
    headers = {"authorization": f"Bearer {key}"}
    url = f"{server.root}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=60)


def test_attacks_are_the_attacker_s_failure(server: Gateway) -> None:
    """One server for all of them, so that one which leaves harm behind is found by the next."""
    assert ask(server).status_code == 200
    found: dict[str, Any] = {}
    for name, fields, expected in ATTACKS:
        for extra in (
            {}, {"stream": True}, {"ratchet": {"rollouts": 1}},
            {"ratchet": {"rollouts": 1}, "stream": True},
            {"ratchet": {"stream": "first"}, "stream": True},
        ):  # fmt: skip
            reply = ask(server, **fields, **extra)
            broken = '"error"' in reply.text and reply.status_code == 200
            status = 502 if broken else reply.status_code
            if status not in expected or len(reply.text) > 20_000 or JUNK[:999] in reply.text:
                found[f"{name} {extra}"] = (reply.status_code, reply.text[:200])
            if httpx.get(f"{server.root}/readyz").status_code != 200:
                found[f"{name} {extra} readyz"] = reply.text[:200]
                wait_until(server.ready, 30)
        if ask(server).status_code != 200:
            found[f"after {name}"] = "an honest request fails"
    assert not found, json.dumps(found, indent=1)
    assert server.log() == ""


def test_quotas_count_what_the_engine_counts(shared_engine: EngineProcess, folder: Any) -> None:
    keys = folder / "keys.jsonl"
    ada, bob = (add_key(keys, name, tokens_per_minute=30) for name in ("ada", "bob"))
    settings = {"engine_url": shared_engine.url, "keys_file": keys, "rollouts": 2}
    server = Gateway(folder, [], **settings)
    server.start()
    try:
        long = {**said(content="What is 12+34? " * 5), "ratchet": {"rollouts": 1}, "stream": True}
        assert [ask(server, ada, **long).status_code for _ in range(3)] == [200, 429, 429]
        body = {"model": "ratchet", **said(), "ratchet": {"stream": "first"}, "stream": True}
        content = json.dumps({**body, "max_tokens": 100, "ignore_eos": True}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {bob}\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode() + content)
            assert b" 200 " in connection.recv(100)
        wait_until(lambda: ask(server, bob).status_code == 429)
    finally:
        server.kill()
