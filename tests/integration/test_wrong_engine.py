"""An engine that is not as the settings say: the server stays up, and says what to change."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import QUESTION, Gateway, Upstream

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine_model": "wrong"}, "it serves base, not wrong: change engine_model"),
        ({"engine_url": "http://127.0.0.1:9"}, "is engine_url right"),
    ],
)
def test_what_is_wrong_with_the_engine_is_one_line_and_the_server_stays_up(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    upstream = Upstream()
    server = Gateway(tmp_path, [upstream], **settings)
    try:
        upstream.start()
        server.start(until=lambda: said in server.log())
        for _ in range(3):
            asked = httpx.post(
                f"{server.root}/v1/chat/completions",
                json={"model": "ratchet", "messages": QUESTION}, timeout=10,
            )  # fmt: skip
            assert (asked.status_code, "retry-after" in asked.headers) == (503, True)
        assert httpx.get(f"{server.root}/readyz", timeout=5).status_code == 503
        assert httpx.get(f"{server.root}/livez", timeout=5).status_code == 200
        assert server.log().count(said) == 1
        assert server.stop() == 0
    finally:
        server.kill()
        upstream.kill()
