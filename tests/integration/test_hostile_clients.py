"""Attacks on a running server: what a web page, a client or an operator can get out of it."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from adapter.store.wire import unpack
from tests.gateway import Gateway, gateway
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SECRET = "Zanzibarquux"


def asked(text: str, **body: object) -> dict[str, object]:
    return {"model": "ratchet", "messages": [{"role": "user", "content": text}], **body}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("served"), page_texts=True) as server:
        yield server


def status(server: Gateway, *lines: str, body: bytes = b"") -> int:
    """The status of a request with exactly these lines."""
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "connection: close", "", ""])
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        return int(connection.recv(100).split()[1])


POST = "POST /v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([POST, "host: 127.0.0.1", "content-type: application/json"], {200}),
        ([POST, "host: 127.0.0.1", "content-type: text/plain"], {415}),
        ([POST, "host: 127.0.0.1", "content-type: application/json",
          "content-type: text/plain"], {415}),
        ([POST, "host: 127.0.0.1", "content-type: text/plain",
          "origin: https://evil.example"], {403}),
        ([POST, "host: 127.0.0.1", "content-type: application/json", "origin: null"], {403}),
        ([POST, "host: evil.example:8000", "content-type: application/json"], {421}),
        ([POST, "host: 127.0.0.1", "host: evil.example", "content-type: application/json"],
         {400, 421}),
        (["GET /live HTTP/1.1", "host: evil.example:8000"], {421}),
        (["GET http://evil.example/live HTTP/1.1", "host: evil.example"], {400, 421}),
        (["GET /live HTTP/1.1", "host: localhost:8000"], {200}),
    ],
)  # fmt: skip
def test_doors(served: Gateway, lines: list[str], expected: set[int]) -> None:
    body = json.dumps(asked("2+2?")).encode() if lines[0] == POST else b""
    assert status(served, *lines, body=body) in expected


def test_an_error_event_of_the_engine_is_that_request_s_failure(served: Gateway) -> None:
    poison = asked("error=1", stream=True, ratchet={"rollouts": 1})
    for _ in range(20):
        reply = httpx.post(f"{served.root}/v1/chat/completions", json=poison)
        failed = reply.status_code == 502 or "engine_failed" in reply.text
        assert failed and "[DONE]" not in reply.text, reply.text
        assert httpx.get(f"{served.root}/readyz").status_code == 200
    for voted in ({}, {"stream": True}, {"stream": True, "ratchet": {"stream": "first"}}):
        reply = httpx.post(f"{served.root}/v1/chat/completions", json=asked("error=1", **voted))
        assert reply.status_code == 502 or "engine_failed" in reply.text
        assert httpx.get(f"{served.root}/readyz").status_code == 200
    assert httpx.post(f"{served.root}/v1/chat/completions", json=asked("2+2?")).status_code == 200


def test_who_hangs_up_in_the_middle_of_a_body_is_counted_and_not_logged(served: Gateway) -> None:
    gone = 'ratchet_requests_total{route="/v1/chat/completions",status="499"}'
    before, logged = served.metric(gone), len(served.log())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(f"{POST}\r\nhost: x\r\ncontent-length: 10\r\n\r\n{{".encode())
    wait_until(lambda: served.metric(gone) == before + 20)
    assert served.log()[logged:] == ""


JUNK = "j" * 3_900_000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": JUNK}, 400),
        ({"stop": JUNK}, 400),
        ({"chat_template_kwargs": {"a": JUNK}}, 400),
        ({"metadata": {"a": JUNK}}, 400),
        ({"messages": [{"role": "user", "content": "2+2?", "junk": JUNK}]}, 400),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?",
                                                     "junk": JUNK}]}]}, 400),
        ({"messages": [{"role": "user", "content": "2+2?", "junk": [JUNK]}]}, 400),
        ({"messages": [{"role": "user", "content": JUNK}]}, 200),
        ({"messages": [{"role": "user"}] * 200_000}, 400),
        ({"ratchet": {str(at): 0 for at in range(300_000)}}, 400),
        ({"logit_bias": {str(at): 0 for at in range(300_000)}}, 400),
        ({"messages": [[]] * 900_000}, 400),
        ({"tools": [{}] * 900_000}, 400),
        ({"documents": [{}] * 900_000}, 400),
        ({"stop": [[]] * 900_000}, 400),
        ({"ratchet": [{}] * 900_000}, 400),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_megabytes_leave_nothing_behind(
    tmp_path: Path, fields: dict[str, object], expected: int
) -> None:
    with gateway(tmp_path, rollouts=2) as server:
        url = f"{server.root}/v1/chat/completions"
        assert httpx.post(url, json=asked("2+2?")).status_code == 200
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        content = json.dumps({**asked("2+2?"), **fields}).encode()
        kind = {"content-type": "application/json"}
        for _ in range(20):
            reply = httpx.post(url, content=content, headers=kind, timeout=30)
            assert reply.status_code == expected, reply.text[:300]
            assert len(reply.content) < 5_000
        assert process.memory_info().rss - before < 150 << 20
        assert httpx.post(url, json=asked("2+2?")).status_code == 200


def texts_in(port: int) -> str:
    """All of Redis' texts and groups."""
    client, found = redis.Redis(port=port), list[object]()
    for key in client.scan_iter():
        found.append(key)
        if client.type(key) == b"string":
            found.append(client.get(key))
        if client.type(key) == b"stream":
            rows = [fields for _, fields in client.xrange(key)]
            found += [unpack(row[b"g"]) if b"g" in row else row for row in rows]
    client.close()
    return repr(found)


def test_forgetting_somebody_whose_question_is_under_way(tmp_path: Path, own_server) -> None:
    settings = {
        "redis_url": own_server.url,
        "page_texts": True,
        "train_rollouts": 8,
        "gate_holdout": 0,
    }
    with gateway(tmp_path, **settings) as server:
        url, replies = f"{server.root}/v1/chat/completions", list[httpx.Response]()
        for text, user in ((f"{SECRET} 1?", "victim/u"), ("2+2?", "bob")):
            assert httpx.post(url, json=asked(text, user=user)).json()["ratchet"]["recorded"]
        optional = asked(f"{SECRET} 2?", user="quentin", store=False)
        completion = httpx.post(url, json=optional).json()["id"]
        given = {"completion_id": completion, "label": "4"}
        assert httpx.post(f"{server.root}/v1/feedback", json=given).status_code == 404
        under_way = asked(f"{SECRET} 3? pace=0.3", user="victim")
        asking = threading.Thread(
            target=lambda: replies.append(httpx.post(url, json=under_way, timeout=30))
        )
        asking.start()
        wait_until(lambda: server.upstreams[0].stats()["under_way"])
        upstream = server.upstreams[0].process
        assert upstream is not None
        upstream.send_signal(signal.SIGSTOP)
        done = subprocess.run(
            [sys.executable, "-m", "ratchet", "forget", "victim/*", "--redis-url", own_server.url,
             "--adapters-dir", str(tmp_path / "adapters")],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        [memory] = [line for line in done.stdout.splitlines() if line.startswith("memory of")]
        assert "1 queries" in memory and "1 texts" in memory
        assert not replies, "it was under way"
        upstream.send_signal(signal.SIGCONT)
        asking.join()
        assert replies[0].json()["ratchet"]["reason"] == "opted_out"
        wait_until(lambda: not server.metric("ratchet_top_up_groups"))
        live = httpx.get(f"{server.root}/live").text
        assert "2+2?" in live and SECRET not in live
        assert server.stop() == 0
    left = texts_in(own_server.port)
    assert "2+2?" in left
    for text in (SECRET, "victim", "quentin"):
        assert text not in left
