"""The live page in a real browser, over a real server with a scripted engine."""

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, expect

from server.engine.scripted import ScriptedEngine
from server.history import COLUMNS
from server.http.app import create_app
from server.parts import Parts
from server.settings import ServerSettings
from tests.browser import browser, opened
from tests.serving import PROSE
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.needs("chromium")]
MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
TEXTS = [r"\boxed{4}"] * 5 + [r"\boxed{<b>5</b>}", PROSE, r"\boxed{6}"]
HOUR = 1800


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, Parts]]:
    """A server with texts on its page, and an hour behind it."""
    engine = ScriptedEngine(lambda _model, _prompt, n: [TEXTS[i % 8] for i in range(n)])
    settings = ServerSettings(
        redis_url="memory://", rollouts=8, train_rollouts=0, page_texts=True, port=0,
        equality_deadline=30.0, vote_confidence=1.0,
    )  # fmt: skip
    parts = Parts(settings, engine=engine)
    assert parts.judge("x + 1", "1 + x")  # its worker runs from here on
    now = time.time()
    for row in range(HOUR):
        share = round(0.5 + 0.4 * row / HOUR + 0.02 * math.sin(row / 9), 4)
        values = {name: round(share - 0.03 * at, 4) for at, name in enumerate(COLUMNS)}
        values["agreement"] = share
        values |= {"time": now - 2.0 * (HOUR - row), "version": float(row // 75), "waiting": 9.0}
        parts.history.rows.append(tuple(values[name] for name in COLUMNS))
    config = uvicorn.Config(create_app(parts), port=0, log_level="error")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", parts
    server.should_exit = True
    thread.join()


def ask(url: str, question: str, **body: Any) -> None:
    reply = httpx.post(f"{url}/v1/chat/completions", json={
        "model": "ratchet", "messages": [{"role": "user", "content": question}], **body,
    })  # fmt: skip
    assert reply.status_code == 200


def test_it_shows_votes_and_markup_does_nothing(site: tuple[str, Parts], chromium: Browser) -> None:
    url, _ = site
    ask(url, MARKUP)
    page, complaints = opened(chromium, url)
    expect(page.locator("#vote-list li").first).to_contain_text(MARKUP)
    expect(page.locator("#vote-list li").first).to_contain_text("<b>5</b>")
    expect(page.locator("#vote-list img, #vote-list b, #vote-list script")).to_have_count(0)
    expect(page.locator("#health")).to_contain_text("engine engine up")
    expect(page.locator("#said-learning")).to_contain_text("Agreement of the rollouts")
    assert page.title() == "Ratchet \N{EN DASH} base"
    assert complaints == []
    page.context.close()


def test_a_question_is_voted_on_before_the_reader_s_eyes(
    site: tuple[str, Parts], chromium: Browser
) -> None:
    url, _ = site
    page, complaints = opened(chromium, url)
    page.fill("#question", MARKUP)
    page.press("#question", "Enter")
    expect(page.locator("#poll-state")).to_contain_text("4 (math), say")
    expect(page.locator("#poll-state")).to_contain_text("recorded for learning")
    bars = page.locator("#poll-bars li")
    expect(bars.first).to_contain_text("4")
    expect(page.locator("#poll-bars b")).to_have_count(0)
    expect(page.locator("#poll-answer")).to_have_text(r"\boxed{4}")
    page.uncheck("#train")
    page.click("#send")
    expect(page.locator("#poll-state")).to_contain_text("not recorded (opted_out)")
    assert complaints == []
    page.context.close()


def test_an_error_is_shown_in_words(site: tuple[str, Parts], chromium: Browser) -> None:
    url, parts = site
    from server.engine.base import EngineUnavailable

    page, _ = opened(chromium, url)
    expect(page.locator("#model")).to_have_text("ratchet")
    engine: Any = parts.engine.replicas[0].engine
    engine.fault = EngineUnavailable("gone")
    try:
        page.click("#send")
        expect(page.locator("#poll-state")).to_contain_text("No answer:")
    finally:
        engine.fault = None
    page.context.close()


def test_the_charts_are_drawn_in_light_and_dark(site: tuple[str, Parts], chromium: Browser) -> None:
    url, _ = site
    colours = """chart => { const c = document.querySelector(chart + ' canvas');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set(); for (let i = 0; i < d.length; i += 4)
        if (d[i + 3] > 250) seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]); return [...seen]; }"""
    for scheme, line in (("light", "0,114,178"), ("dark", "86,180,233")):  # agreement's
        page, _ = opened(chromium, url, color_scheme=scheme)
        expect(page.locator("#said-learning")).to_contain_text("at first 5")
        wait_until(lambda page=page, line=line: line in page.evaluate(colours, "#chart-learning"))
        page.context.close()


def test_it_fits_a_phone_and_reads_aloud(site: tuple[str, Parts], chromium: Browser) -> None:
    url, _ = site
    page, _ = opened(chromium, url, viewport={"width": 360, "height": 740}, is_mobile=True)
    expect(page.locator("#said-flow")).to_contain_text("wait for the learner")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for small in ("#send", "#question"):
        box = page.locator(small).bounding_box()
        assert box is not None and box["height"] >= 44, small
    aloud = page.locator("body").aria_snapshot()
    for heading in ("Ratchet ratchet", "Learning", "Ask", "Latency", "Last votes"):
        assert f'heading "{heading}"' in aloud, heading
    assert 'button "Ask"' in aloud
    assert 'textbox "A question with an answer that can be compared"' in aloud
    assert 'checkbox "may be learnt from"' in aloud
    assert "columnheader" in aloud and "img" in aloud
    assert page.locator("html").get_attribute("lang") == "en"
    page.context.close()


def test_it_is_light_and_smooth_with_an_hour_of_points(
    site: tuple[str, Parts], chromium: Browser
) -> None:
    """At most 300 KB in all, painted within a second, and 60 frames a second while charts change.
    Two busy cores may drop a frame; half of them may not go."""
    url, _ = site
    page, _ = opened(chromium, url)
    expect(page.locator("#said-learning")).to_contain_text("at first 5")
    sizes = page.evaluate(
        "performance.getEntries().filter(e => 'transferSize' in e).map(e => [e.name, "
        "e.transferSize, e.decodedBodySize])"
    )
    assert len(sizes) >= 9 and all(name.startswith(url) for name, *_ in sizes)
    assert sum(sent for _, sent, _ in sizes) <= 300_000, sizes
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint <= 1000
    frames = page.evaluate("""async () => {
      const started = performance.now(); let frames = 0, worst = 0, last = started;
      while (performance.now() - started < 3000) {
        await new Promise(requestAnimationFrame);
        if (frames % 10 === 0) showHistory({});
        const now = performance.now(); worst = Math.max(worst, now - last); last = now; frames += 1;
      }
      return {rate: frames / 3, worst}; }""")
    print(
        f"first paint {paint:.0f} ms, {frames['rate']:.0f} frames/s, worst {frames['worst']:.0f} ms"
    )
    assert frames["rate"] >= 30, frames
    page.context.close()


def test_it_says_that_the_server_is_away_and_comes_back(chromium: Browser) -> None:
    engine = ScriptedEngine(lambda _model, _prompt, n: [r"\boxed{4}"] * n)
    parts = Parts(ServerSettings(redis_url="memory://", train_rollouts=0), engine=engine)
    config = uvicorn.Config(create_app(parts), port=0, log_level="error")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    page, _ = opened(chromium, url)
    expect(page.locator("#model")).to_have_text("ratchet")
    expect(page.locator("#trouble")).to_have_text("")
    server.should_exit = True
    thread.join()
    expect(page.locator("#trouble")).to_contain_text("cannot be reached", timeout=15_000)
    page.context.close()
