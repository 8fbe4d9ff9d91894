"""Faults on the serving path, between real processes."""

import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from tests.gateway import Gateway, gateway
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("served"), max_body_bytes=200_000) as made:
        yield made


def asked(text: str = "", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"What is 2+2? {text}"}]
    return {"model": "ratchet", "messages": messages, **more}


class Load:
    """Closed-loop clients over some servers; each goes to the next one if it is refused."""

    def __init__(self, roots: list[str], clients: int, body: dict[str, Any]) -> None:
        self.seen: Counter[str] = Counter()
        self.told = 0
        self._roots, self._body, self._stop = roots, body, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._stop.is_set():
                self.seen[self._ask(client, number)] += 1

    def _ask(self, client: httpx.Client, number: int) -> str:
        for at in range(len(self._roots)):
            root = self._roots[(number + at) % len(self._roots)]
            try:
                reply = client.post(f"{root}/v1/chat/completions", json=self._body)
            except httpx.ConnectError:
                continue  # as a load balancer would
            except httpx.HTTPError as error:
                return type(error).__name__
            if reply.headers.get("connection") == "close":
                self.told += 1
            if reply.status_code == 200 and reply.json()["ratchet"]["answer"] != "4":
                return "wrong"
            return str(reply.status_code)
        return "nobody there"


def test_a_killed_replica_costs_no_request(tmp_path: Path) -> None:
    with gateway(tmp_path, upstreams=2) as server:
        body = asked("pace=0.002", ratchet={"train": False})
        with Load([server.root], 8, body) as load:
            wait_until(lambda: load.seen["200"] > 50)
            before = server.upstreams[0].stats()["served"], server.upstreams[1].stats()["served"]
            favourite = server.upstreams[0 if before[0] > before[1] else 1]
            wait_until(lambda: favourite.stats()["under_way"] > 0)
            favourite.kill()
            reached = load.seen["200"]
            wait_until(lambda: load.seen["200"] > reached + 100)
            favourite.start()
            wait_until(lambda: favourite.stats()["served"] > 20, 20)
        assert set(load.seen) == {"200"}, load.seen


def test_what_was_being_streamed_from_it_ends_with_an_error(tmp_path: Path) -> None:
    with gateway(tmp_path, upstreams=2) as server:
        body = asked("pace=0.05 tokens=100", stream=True, ratchet={"rollouts": 1})
        with httpx.stream("POST", f"{server.root}/v1/chat/completions", json=body) as reply:
            lines = reply.iter_lines()
            assert next(lines).startswith("data: ")
            for upstream in server.upstreams:
                if upstream.stats()["under_way"]:
                    upstream.kill()
            events = [line for line in lines if line]
        assert json.loads(events[-1][6:])["error"]["code"] == "engine_unavailable"
        assert "data: [DONE]" not in events
        assert httpx.post(f"{server.root}/v1/chat/completions", json=asked()).status_code == 200


def test_sigterm_under_load_fails_no_request(tmp_path: Path, own_server) -> None:
    """Two servers, as behind a load balancer that sees /readyz; one is told to stop."""
    settings = {"redis_url": own_server.url, "drain_seconds": 0.5}
    with gateway(tmp_path, **settings) as first, gateway(tmp_path, **settings) as second:
        with Load([first.root, second.root], 8, asked("pace=0.005")) as load:
            wait_until(lambda: load.seen["200"] > 50)
            assert first.process is not None
            first.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not first.ready_or_gone())
            assert first.process.wait(20) == 0
            reached = load.seen["200"]
            wait_until(lambda: load.seen["200"] > reached + 50)
        assert set(load.seen) == {"200"}, load.seen
        assert load.told > 0
        assert second.stop() == 0
        client = redis.Redis.from_url(own_server.url)
        recorded = client.xlen("{ratchet}:groups")
        client.close()
        assert recorded == load.seen["200"]  # everything accepted was stored before the end


def test_a_stop_waits_no_longer_than_a_request_may_take(tmp_path: Path) -> None:
    """For a client that never sends the rest of its body."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
    with (
        gateway(tmp_path, engine_timeout=1) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(head + b"{")
        assert httpx.get(f"{server.root}/livez").status_code == 200, "so it has seen ours too"
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("mode", ["vote", "first", "single", "whole"])
def test_a_client_that_hangs_up_is_noticed_in_the_engine(served: Gateway, mode: str) -> None:
    upstream = served.upstreams[0]
    body = asked("pace=0.1 tokens=1000", stream=mode != "whole")
    if mode == "single":
        body["ratchet"] = {"rollouts": 1}
    elif mode == "first":
        body["ratchet"] = {"stream": "first"}
    wait_until(lambda: upstream.stats()["under_way"] == 0)
    for reads in (0, 1, 3):
        aborted = upstream.stats()["aborted"]
        connection = post(served, body)
        wait_until(lambda: upstream.stats()["under_way"] > 0)
        for _ in range(reads if mode in ("single", "first") else 0):
            connection.recv(4096)
        gone = time.monotonic()
        connection.close()
        wait_until(lambda: upstream.stats()["under_way"] == 0, 2)
        assert time.monotonic() - gone < 1.0
        assert upstream.stats()["aborted"] > aborted
    wait_until(lambda: served.metric("ratchet_load_ratio") == 0)


def post(served: Gateway, body: dict[str, Any]) -> socket.socket:
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def said(served: Gateway, raw: bytes, seconds: float = 5.0) -> bytes:
    """What the server says to these bytes, until it hangs up or has said something whole."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=seconds) as connection:
        connection.sendall(raw)
        try:
            return connection.recv(65_536)
        except TimeoutError:
            return b""


LINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        LINE + b"content-length: -5\r\n\r\n{}",
        LINE + b"content-length: 5x\r\n\r\n{}",
        LINE + b"content-length: 2\r\ncontent-length: 9\r\n\r\n{}",
        LINE + b"content-length: 99999999999999999999999999\r\n\r\n{}",
        LINE + b"content-length: 104857600\r\n\r\n{}",
        LINE + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        LINE + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        LINE + b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        LINE + b"transfer-encoding: gzip\r\n\r\n\x1f\x8b",
        LINE + b"a: " + b"x" * 200_000 + b"\r\n\r\n",
        LINE + b"bad header\r\n\r\n",
        LINE + b"content-length: 2\r\n\r\n\xff\xfe",
        b"POST /v1/chat/completions%00 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"POST //v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"POST http://evil/v1/chat/completions HTTP/1.1\r\nhost: y\r\ncontent-length: 2\r\n\r\n{}",
        b"GET /v1/models;x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT evil:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)  # fmt: skip
def test_bytes_that_no_client_library_sends(served: Gateway, raw: bytes) -> None:
    reply = said(served, raw, 1.0)
    assert reply == b"" or reply.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), reply[:200]
    assert served.ready()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_before_it_is_taken_in(served: Gateway, chunked: bool) -> None:
    assert served.process is not None
    before = psutil.Process(served.process.pid).memory_info().rss
    head = LINE + (b"transfer-encoding: chunked" if chunked else b"content-length: 104857600")
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        piece = b"x" * 65_536
        try:
            for _ in range(1_600):
                connection.sendall((b"10000\r\n" if chunked else b"") + piece
                                   + (b"\r\n" if chunked else b""))  # fmt: skip
        except OSError:
            pass
        else:
            raise AssertionError("all of it was taken")
    assert psutil.Process(served.process.pid).memory_info().rss - before < 20 << 20


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 30_000,
        b'{"model": "ratchet", "messages": [], "messages": 5}',
        b'{"model": "ratchet", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": NaN}',
        b'{"model": "ratchet", "max_tokens": 1e999}',
        b'{"model": "ratchet", "max_tokens": ' + b"9" * 5_000 + b"}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'"secret-prompt"',
        b"null",
        b"",
    ],
)
def test_bodies_that_mean_harm(served: Gateway, body: bytes) -> None:
    started = time.monotonic()
    reply = httpx.post(f"{served.root}/v1/chat/completions", content=body)
    assert 400 <= reply.status_code < 500
    assert time.monotonic() - started < 1.0
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret-prompt" not in reply.text


def test_a_gzip_bomb_is_not_unpacked(served: Gateway) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    reply = httpx.post(
        f"{served.root}/v1/chat/completions", content=bomb, headers={"content-encoding": "gzip"}
    )
    assert reply.status_code == 400


@pytest.mark.parametrize("field", ["n", "max_tokens", "ratchet.rollouts"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 1e308, "8", True, 10**30, 1.5])
def test_absurd_counts_cost_nothing(served: Gateway, field: str, value: Any) -> None:
    outer, _, inner = field.partition(".")
    started = time.monotonic()
    reply = httpx.post(
        f"{served.root}/v1/chat/completions",
        json=asked(**{outer: {inner: value} if inner else value}),
    )
    assert reply.status_code == 400
    assert outer in reply.json()["error"]["param"]
    assert time.monotonic() - started < 0.3


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "text", "text": "x", "image_url": {"url": "http://127.0.0.1:1/"}},
        {"type": "text", "text": {"image_url": "http://127.0.0.1:1/"}},
    ],
)
def test_only_text_is_taken_and_nothing_is_fetched(served: Gateway, part: dict[str, Any]) -> None:
    before = served.upstreams[0].stats()["served"]
    messages = [{"role": "user", "content": [part]}]
    reply = httpx.post(
        f"{served.root}/v1/chat/completions", json={"model": "ratchet", "messages": messages}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith("messages.0.content")
    assert served.upstreams[0].stats()["served"] - before <= 1  # a probe, at most


def test_idle_and_slow_connections_do_no_harm(served: Gateway) -> None:
    """Ten thousand that say nothing, dozens that trickle, a few that do not read."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, most - 500)
    assert count >= 3_000, "the machine allows too few open files to test this"
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle: list[socket.socket] = []
    try:
        for _ in range(count):
            idle.append(socket.create_connection(("127.0.0.1", served.port), timeout=5))
        for connection in idle[:50]:
            connection.sendall(LINE + b"content-length: 100\r\n\r\n{")
        slow = [post(served, asked("tokens=20000", stream=True, ratchet={"rollouts": 1}))
                for _ in range(5)]  # fmt: skip
        idle += slow
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            statuses = list(pool.map(lambda _: ask(served), range(100)))
        assert set(statuses) == {200}
        assert time.monotonic() - started < 30
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    wait_until(lambda: served.metric("ratchet_load_ratio") == 0)


def ask(served: Gateway) -> int:
    return httpx.post(f"{served.root}/v1/chat/completions", json=asked(), timeout=20).status_code


def test_descriptors_and_memory_come_back(served: Gateway) -> None:
    assert served.process is not None
    process = psutil.Process(served.process.pid)
    ask(served)
    wait_until(lambda: process.num_fds() < 100, 20)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ask(served), range(400))) == {200}
    wait_until(lambda: process.num_fds() < 100, 20)


def test_a_bad_setting_ends_it_at_once() -> None:
    for name, value in (("RATCHET_ROLOUTS", "3"), ("RATCHET_ROLLOUTS", "many"),
                        ("RATCHET_ADMIN_PORT", "9"), ("RATCHET_KEYS_FILE", "nowhere")):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "ratchet", "serve"], env={**os.environ, name: value},
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert done.returncode == 2, (name, done.stderr)
        assert name[8:12].lower() in done.stderr.lower()
