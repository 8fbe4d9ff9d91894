"""Connections that never end what they begin, or send too much of it, against a real server.

The attacks have the sizes of those that once filled its memory; no key is needed for any of them.
"""

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import psutil
import pytest

from tests.gateway import QUESTION, Gateway, gateway
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

ROOM = 150 << 20
"""By which an attack may make the server grow."""
LINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
HONEST = {"model": "ratchet", "messages": QUESTION, "ratchet": {"train": False}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("served")
    with gateway(folder, header_seconds=2, body_seconds=3) as server:
        assert ask(server) < 5
        yield server


def ask(server: Gateway) -> float:
    """Seconds that an honest request takes."""
    started = time.monotonic()
    reply = httpx.post(f"{server.root}/v1/chat/completions", json=HONEST, timeout=20)
    assert reply.status_code == 200
    return time.monotonic() - started


def refused(server: Gateway, limit: str) -> float:
    """Connections that were hung up on for that."""
    return server.metric(f'ratchet_connections_refused_total{{what="{limit}"}}')


class Watch:
    """Asks honestly all the while, and measures how far the server grows."""

    def __init__(self, server: Gateway) -> None:
        assert server.process is not None
        self._server, self._process = server, psutil.Process(server.process.pid)
        self._before, self.grown = self._process.memory_info().rss, 0
        self.seconds: list[float] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._ask, self._measure)]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        wait_until(lambda: len(self.seconds) > 2, 30)
        self._over.set()
        for thread in self._threads:
            thread.join()
        if error[0] is None:
            assert self.grown < ROOM, f"{self.grown >> 20} MB"
            assert max(self.seconds) < 5

    def _ask(self) -> None:
        while not self._over.is_set():
            self.seconds.append(ask(self._server))

    def _measure(self) -> None:
        while not self._over.wait(0.02):
            grown = self._process.memory_info().rss - self._before
            self.grown = max(self.grown, grown)


def opened(server: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def said(connection: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def pushed(server: Gateway, *parts: bytes, times: int = 1, begin: bytes = LINE) -> bytes:
    """What the server says to much that never ends."""
    with opened(server) as connection:
        try:
            connection.sendall(begin)
            for _ in range(times):
                for part in parts:
                    connection.sendall(part)
        except ConnectionError:
            pass
        return said(connection)


@pytest.mark.parametrize(
    ("parts", "times", "begin", "setting"),
    [
        ([b"a: b\r\n" * 10_000], 300, LINE, b"max_headers"),
        ([b"a: " + b"x" * 900 + b"\r\n"], 1_000, LINE, b"max_header_bytes"),
        ([b"x" * 65_536], 800, LINE + b"a: ", b"max_header_bytes"),
        ([b"x" * 65_536], 800, LINE + b"a", b"max_header_bytes"),
        ([b"x" * 65_536], 800, b"GET /", b"max_header_bytes"),
        ([b"x" * 1_000], 800, b"GET /", b"max_header_bytes"),
    ],
)
def test_headers_that_never_end(
    served: Gateway, parts: list[bytes], times: int, begin: bytes, setting: bytes
) -> None:
    with Watch(served):
        reply = pushed(served, *parts, times=times, begin=begin)
    assert reply.startswith(b"HTTP/1.1 431 ") and setting in reply, reply[:300]


def test_headers_that_come_slowly(served: Gateway) -> None:
    with Watch(served), ExitStack() as stack:
        slow = [stack.enter_context(opened(served)) for _ in range(200)]
        idle = stack.enter_context(opened(served))
        for at in range(6):
            for connection in slow:
                if at < 3 or not at % 2:
                    try:
                        connection.sendall(LINE if not at else b"a: b\r\n")
                    except ConnectionError:
                        continue
            time.sleep(0.5)
        for connection in slow:
            reply = said(connection)
            assert reply == b"" or (reply.startswith(b"HTTP/1.1 408 ") and b"header_s" in reply)
        assert said(idle) == b""
    assert refused(served, "header_time") >= 200


def test_thousands_of_connections_with_half_a_head(served: Gateway) -> None:
    """50 MB of heads, each within its limit: the oldest give way, or run out of time."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with Watch(served), ExitStack() as stack:
            for _ in range(3_000):
                with suppress(ConnectionError):
                    stack.enter_context(opened(served)).sendall(LINE + b"a: " + b"x" * 16_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    limits = ("unparsed_bytes", "header_time")
    assert sum(refused(served, limit) for limit in limits) >= 1


def test_bodies_that_stop_one_byte_short(served: Gateway) -> None:
    """240 MB of them: the oldest give way, the others run out of time."""
    size = 4 << 20
    head = LINE + b"content-length: %d\r\n\r\n" % size
    with Watch(served), ExitStack() as stack:
        connections = [stack.enter_context(opened(served)) for _ in range(60)]
        for connection in connections:
            with suppress(ConnectionError):
                connection.sendall(head + b"[" + b" " * (size - 2))
        replies = [said(connection) for connection in connections]
    told = [reply for reply in replies if reply.startswith(b"HTTP/1.1 408 ")]
    assert len(told) > 50  # others may have been reset as they wrote
    assert all(b"max_unparsed_bytes" in one or b"body_seconds" in one for one in told)
    assert any(b"max_unparsed_bytes" in one for one in told)
    assert any(b"body_seconds" in one for one in told)


def test_many_small_bodies_that_never_end(served: Gateway) -> None:
    head = LINE + b"content-length: 100000\r\n\r\n"
    with Watch(served), ExitStack() as stack:
        connections = [stack.enter_context(opened(served)) for _ in range(1_000)]
        for connection in connections:
            with suppress(ConnectionError):
                connection.sendall(head + b" " * 90_000)
        for connection in connections:
            said(connection)


def test_a_body_of_nearly_empty_chunks_and_one_with_an_endless_trailer(served: Gateway) -> None:
    chunked = LINE + b"transfer-encoding: chunked\r\n\r\n"
    with Watch(served):
        extended = pushed(served, b"1;" + b"x" * 60_000 + b"\r\n{\r\n", times=50, begin=chunked)
        trailer = pushed(served, b"x" * 60_000, times=500, begin=chunked + b"0\r\na: ")
        trailers = pushed(served, b"a: b\r\n" * 5_000, times=50, begin=chunked + b"0\r\n")
    assert extended.startswith(b"HTTP/1.1 400 ")
    assert trailer.startswith(b"HTTP/1.1 400 ")
    assert trailers.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


def test_a_body_in_small_chunks_is_read(served: Gateway) -> None:
    body = json.dumps(HONEST).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with opened(served) as connection:
        connection.sendall(LINE + b"transfer-encoding: chunked\r\n\r\n" + chunks)
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")


def test_a_head_in_pieces_before_a_long_body_is_read(served: Gateway) -> None:
    body = json.dumps({**HONEST, "user": "x"}).encode().ljust(300_000)
    whole = LINE + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body
    for cut in (1, 20, len(LINE) + 2, whole.index(b"\r\n\r\n") + 3):
        with opened(served) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(whole[:cut])
            time.sleep(0.02)
            connection.sendall(whole[cut:])
            assert said(connection).startswith(b"HTTP/1.1 200 ")


def test_requests_in_a_row_whose_replies_nobody_reads(served: Gateway) -> None:
    with Watch(served):
        begun = b"GET /page/uplot.js HTTP/1.1\r\nhost: x\r\n\r\n" * 1_000
        with opened(served) as connection:
            connection.settimeout(2)
            try:
                for _ in range(120):
                    connection.sendall(begun)
            except OSError:
                pass
    wait_until(lambda: refused(served, "pipeline") >= 1)


def test_a_few_in_a_row_are_answered_in_order(served: Gateway) -> None:
    last = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with opened(served) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * 5 + last)
        reply = said(connection)
    assert reply.count(b"HTTP/1.1 200 ") == 5 and reply.count(b"HTTP/1.1 404 ") == 1


def test_nothing_of_this_is_in_the_log(served: Gateway) -> None:
    upgrade = (
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n"
    )
    for raw in (b"\x16\x03\x01\x02\x00", upgrade, LINE + b"content-length: -1\r\n\r\n"):
        pushed(served, begin=raw)
    assert served.ready()
    assert served.log() == ""
