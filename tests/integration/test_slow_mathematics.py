"""Answers and labels whose comparison takes minutes, beside those of others, with real judges."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.serving import Api, serving

pytestmark = pytest.mark.integration

NUMBERS = [rf"\boxed{{{max(2, at)}.5}}" for at in range(16)]
OPEN = [r"\boxed{\frac{\sqrt{3}}{3}}", r"\boxed{\frac{1}{\sqrt{3}}}"]
SLOW = [
    rf"\boxed{{\int_0^1 \frac{{\sin(x^{at})\log(1+x^7)}}{{1+x^{{11}}}} dx}}" for at in range(2, 18)
]
LABELS = [
    "(x+y+z+w+1)^{60}",
    r"\sum_{n=1}^{10^9} \frac{1}{n^2+n+1}",
    r"\prod_{k=1}^{100000000} (1+\frac{1}{k^3})",
    r"\int_0^1 \frac{\sin(x^5)\log(1+x^7)}{1+x^{11}}",
    r"\prod_{k=1}^{300000000} (1+\frac{1}{k^5+k})",
    r"(a+b+c+d+e+f)^{44}",
]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(rollouts=16, engine_timeout=20) as made:
        made.says(*OPEN)
        await vote(made, "warm")  # its worker runs from here on
        yield made


async def vote(api: Api, user: str, **body: object) -> tuple[float, dict[str, object]]:
    """Seconds that it took, and its extension."""
    started = time.monotonic()
    asked = [{"role": "user", "content": f"{user} {started}"}]
    reply = await api.chat(user=user, messages=asked, **body)
    assert reply.status_code == 200
    return time.monotonic() - started, reply.json()["ratchet"]


async def give(api: Api, completion_id: str, label: str) -> tuple[float, int]:
    """Seconds that it took, and the status."""
    started = time.monotonic()
    given = {"completion_id": completion_id, "label": label}
    reply = await api.client.post("/v1/feedback", json=given)
    return time.monotonic() - started, reply.status_code


async def test_slow_labels_keep_nobody_waiting(api: Api) -> None:
    api.says(*NUMBERS)
    ids = [(await api.chat()).json()["id"] for _ in LABELS]
    api.says(*OPEN)
    giving = [
        asyncio.create_task(give(api, completion_id, label))
        for completion_id, label in zip(ids, LABELS, strict=True)
    ]
    for _ in range(5):
        seconds, ratchet = await vote(api, "ada")
        assert ratchet["agreement"] == 1.0 and seconds < 2
    for seconds, status in await asyncio.gather(*giving):
        assert (status, seconds < 2.5) == (200, True), seconds


async def test_slow_answers_take_a_bounded_time_and_others_go_first(api: Api) -> None:
    api.says(*SLOW)
    slow = [asyncio.create_task(vote(api, "mallory")) for _ in range(6)]
    await asyncio.sleep(0.1)
    api.says(*OPEN)
    for _ in range(3):
        seconds, ratchet = await vote(api, "ada")
        assert ratchet["agreement"] == 1.0 and seconds < 6
    for seconds, _ in await asyncio.gather(*slow):
        assert seconds < 12  # 5 s for a turn, 4 for mathematics, and a worker to start


async def test_a_reply_s_deadline_covers_its_mathematics(api: Api) -> None:
    api.says(*SLOW)
    seconds, ratchet = await vote(api, "mallory", ratchet={"deadline": 1.0})
    assert ratchet["answer"] is None and seconds < 3
