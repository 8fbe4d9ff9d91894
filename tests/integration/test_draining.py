"""A server that is told to end, and one whose engines are found by name: as on Kubernetes."""

import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.gateway import QUESTION, Gateway, Upstream, gateway
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def test_what_never_ends_is_waited_for_as_long_as_a_request_may_take(tmp_path: Path) -> None:
    """Half a body, then nothing. terminationGracePeriodSeconds rests on this."""
    with gateway(tmp_path, engine_timeout=1) as server:
        assert server.process is not None
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"
            client.sendall(head)
            wait_until(lambda: server.metric("ratchet_requests_in_flight") > 1)
            told = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0
            assert time.monotonic() - told < 15


def test_an_engine_is_found_by_its_name(tmp_path: Path) -> None:
    upstream = Upstream()
    server = Gateway(tmp_path, [], engine_url=f"dns+http://localhost:{upstream.port}")
    try:
        upstream.start()
        server.start()
        body = {"model": "ratchet", "messages": QUESTION}
        reply = httpx.post(f"{server.root}/v1/chat/completions", json=body)
        assert reply.json()["ratchet"]["answer"] == "4"
        ready = httpx.get(f"{server.root}/readyz").json()
        assert ready["engines"] == {f"127.0.0.1:{upstream.port}": True}
        assert server.stop() == 0
    finally:
        upstream.kill()
        server.kill()
