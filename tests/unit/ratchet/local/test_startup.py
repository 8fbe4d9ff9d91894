"""How long a start is waited for: by hand with a clock of our own, and with real processes."""

import logging
import sys
import time
from pathlib import Path

import pytest

from ratchet.errors import StackFailed
from ratchet.local.child import Child
from ratchet.local.startup import Startup, hub_folder, until_ready
from tests.ports import free_port


class Start:
    """An engine's log and the Hub's cache, which grow when told to; a clock that goes by looks."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.log, self.cache = folder / "engine.log", folder / "models--org--name"
        (self.cache / "blobs").mkdir(parents=True)
        self.log.write_text("loading\n")
        engine = Child("engine", [], {}, self.log)
        self.startup = Startup(
            engine, "org/name", self.cache, patience=10.0, clock=lambda: self.now
        )

    def later(self, seconds: float, *, answers: bool = False) -> None:
        self.now += seconds
        self.startup.look(answers=answers)

    def writes(self) -> None:
        with self.log.open("a") as log:
            log.write("more\n")

    def fetches(self, size: int) -> None:
        (self.cache / "blobs" / "weights.incomplete").write_bytes(b"0" * size)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


def test_without_progress_it_fails_after_its_patience_with_the_log(start: Start) -> None:
    start.later(10.0)
    with pytest.raises(StackFailed, match=r"nothing has changed for 10 s[\s\S]*\nloading$"):
        start.later(0.1)


def test_it_waits_while_the_log_grows(start: Start) -> None:
    for _ in range(5):
        start.writes()
        start.later(9.0)
    with pytest.raises(StackFailed, match=r"waiting for the engine, which writes to .*engine\.log"):
        start.later(10.1)


def test_it_waits_while_the_model_is_fetched_and_says_how_far_it_is(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ratchet.stack"):
        for megabytes in (1, 2, 3, 4):
            start.fetches(megabytes * 1_000_000)
            start.later(9.0)
    said = [record.message for record in caplog.records]
    told = f"waiting for org/name to be fetched: {{}} MB in {start.cache}"
    assert said == [told.format(2), told.format(4)], "at 18 and 36 seconds: every 15"
    with pytest.raises(StackFailed, match="to be fetched: 4 MB"):
        start.later(10.1)


def test_once_it_answers_its_log_is_no_progress(start: Start) -> None:
    start.later(9.0, answers=True)
    start.writes()
    start.later(10.0, answers=True)
    start.writes()
    with pytest.raises(StackFailed, match="the engine answers; waiting for the server"):
        start.later(0.1, answers=True)


def test_what_is_complete_may_be_renamed_meanwhile(start: Start) -> None:
    """The Hub's snapshots are links, which count for themselves."""
    start.fetches(1000)
    start.later(9.0)
    (start.cache / "blobs" / "weights.incomplete").rename(start.cache / "blobs" / "abc")
    (start.cache / "snapshot").symlink_to(start.cache / "nowhere")
    start.later(9.0)
    with pytest.raises(StackFailed):
        start.later(10.1)


def test_a_folder_is_not_fetched(tmp_path: Path) -> None:
    assert hub_folder(str(tmp_path)) is None
    fetched = hub_folder("org/name")
    assert fetched is not None and fetched.name == "models--org--name"


FETCHES_THEN_SERVES = """
import http.server, pathlib, sys, time
blob = pathlib.Path(sys.argv[1]) / "blob"
for step in range(15):
    blob.write_bytes(b"0" * (step + 1))
    time.sleep(0.2)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Ready).serve_forever()
"""


async def test_a_download_longer_than_its_patience_is_waited_for(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "engine.log"
    command = [sys.executable, "-c", FETCHES_THEN_SERVES, str(tmp_path), str(port)]
    engine = Child("engine", command, {}, log)
    started = time.monotonic()
    await engine.start()
    try:
        url = f"http://127.0.0.1:{port}"
        startup = Startup(engine, "org/name", tmp_path, patience=2.0)
        await until_ready(startup, [engine], server=url, engine=url)
    finally:
        await engine.stop()
    assert time.monotonic() - started > 2.0
    assert engine.restarts == 0


@pytest.mark.parametrize(("status", "ends"), [(1, 3), (3, 1)])
async def test_an_engine_that_keeps_ending_is_told_at_once(
    tmp_path: Path, status: int, ends: int
) -> None:
    """With status 3 it has given up, and is not started again."""
    log = tmp_path / "engine.log"
    command = [sys.executable, "-c", f"print('no such model'); raise SystemExit({status})"]
    engine = Child("engine", command, {}, log)
    await engine.start()
    try:
        startup, url = Startup(engine, "org/name", None), f"http://127.0.0.1:{free_port()}"
        with pytest.raises(StackFailed, match=r"engine does not start:\n[\s\S]*no such model"):
            await until_ready(startup, [engine], server=url, engine=url)
    finally:
        await engine.stop()
    assert log.read_text().count("no such model") in (ends - 1, ends)
