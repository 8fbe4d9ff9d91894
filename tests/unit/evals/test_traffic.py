"""Questions put to a server as its users would."""

import pytest
from openai import AsyncOpenAI

from evals.evaluation import EndpointFailed
from evals.items import Item
from evals.traffic import PacedClient, paced
from server.engine.base import EngineUnavailable
from tests.ports import free_port
from tests.serving import Api, serving

ITEM = Item("1", "What is 2+2?", "4")


def asking(api: Api, model: str = "ratchet", *, feedback: bool = False) -> PacedClient:
    client = AsyncOpenAI(
        base_url="http://t/v1", api_key="none", max_retries=0, http_client=api.client
    )
    return PacedClient(client, model, 64, feedback)


async def test_labels_go_to_feedback_only_where_that_is_wanted() -> None:
    async with serving() as api:
        counted = api.parts.metrics.registry.get_sample_value
        await asking(api).ask(ITEM)
        assert counted("ratchet_feedback_total") == 0
        one = asking(api, feedback=True)
        await one.ask(ITEM)
        assert counted("ratchet_feedback_total") == 1
        assert counted("ratchet_accuracy_ratio", {"kind": "maj"}) == 1.0
        assert one.summary == "v0, agreement 50%, 0 failed"
        assert all("label" not in request for request in api.engine.requests)


async def test_a_failure_is_counted_and_a_wrong_name_ends_it() -> None:
    async with serving() as api:
        one = asking(api)
        api.engine.fault = EngineUnavailable("gone")
        await one.ask(ITEM)
        assert (one.asked, one.failed) == (1, 1)
        with pytest.raises(EndpointFailed, match="--model"):
            await asking(api, "another").ask(ITEM)


async def test_where_nothing_answers_it_gives_up_and_names_the_flag() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        one = PacedClient(client, "ratchet", 64, feedback=False)
        with pytest.raises(EndpointFailed, match="--url"):
            for _ in range(30):
                await one.ask(ITEM)
        assert one.failed == 20


async def test_it_keeps_to_its_rate_and_its_minutes() -> None:
    import time

    started = time.monotonic()
    assert [item async for item in paced([ITEM] * 5, 100.0, None)] == [ITEM] * 5
    assert time.monotonic() - started >= 0.04
    assert 1 <= len([item async for item in paced([ITEM] * 50, 100.0, 0.05 / 60)]) <= 6
