"""What answers cost, read from a server's counters."""

from aiohttp import web

from ratchet.local.price import Price, price_at
from server.metrics import ServerMetrics
from tests.ports import free_port

GENERATED = {"votes": 60.0, "learning": 30.0, "judging": 10.0}


def test_numbers_between_two_readings() -> None:
    before = Price(2.0, 32.0, 20.0, dict.fromkeys(GENERATED, 5.0))
    after = Price(12.0, 62.0, 70.0, GENERATED)
    assert after.since(before).numbers() == {
        "tokens_per_answered_token": 1.7,  # (55 + 25 + 5) / 50
        "rollouts_per_answer": 3.0,
        "tokens_by_purpose": {"votes": 55, "learning": 25, "judging": 5},
    }


def test_nothing_answered_has_no_price() -> None:
    numbers = Price(0.0, 0.0, 0.0, GENERATED).numbers()
    assert numbers["tokens_per_answered_token"] is None
    assert numbers["rollouts_per_answer"] is None


async def test_counters_of_a_server() -> None:
    port = free_port()
    metrics = ServerMetrics()
    metrics.votes["answered"].inc(3)
    metrics.votes["no_consensus"].inc()
    metrics.rollouts.inc(12)
    metrics.answered_tokens.inc(50)
    metrics.completion_tokens.inc(60)
    metrics.tokens["learning"].inc(30)
    metrics.tokens["judging"].inc(10)

    async def expose(_: web.Request) -> web.Response:
        return web.Response(body=metrics.expose())

    app = web.Application()
    app.router.add_get("/metrics", expose)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        price = await price_at(f"http://127.0.0.1:{port}/metrics")
    finally:
        await runner.cleanup()
    assert price == Price(4.0, 12.0, 50.0, GENERATED)
