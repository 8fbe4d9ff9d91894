"""Stateless servers on one Redis: they agree on the live version, and on what feedback is about."""

import asyncio
import time
from pathlib import Path

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import AdapterRelease, promote_by_hand
from server.api.requests import ChatRequest
from server.engine.scripted import ScriptedEngine
from server.parts import Parts
from server.settings import ServerSettings
from server.vote.completions import Stopwatch
from server.vote.session import Caller
from tests.serving import until
from tests.unit.server.promotion.test_following import ADAPTER_SCORES, BASE_SCORES, SHEET

ASKED = {"model": "ratchet", "messages": [{"role": "user", "content": "1+1?"}]}


def server(url: str, folder: Path) -> Parts:
    engine = ScriptedEngine(lambda _model, _prompt, n: [r"\boxed{2}"] * n)
    engine.scores = lambda model, _: BASE_SCORES if model == "base" else ADAPTER_SCORES
    settings = ServerSettings(redis_url=url, adapters_dir=folder, train_rollouts=0)
    return Parts(settings, engine=engine)


async def test_they_agree_on_the_live_version_within_a_second(each_server, tmp_path) -> None:
    first, second = (server(each_server.url, tmp_path) for _ in range(2))
    releases = RedisReleases(each_server.url)
    await releases.pause("judged by hand")
    async with first.running(), second.running():
        token = await releases.acquire(5.0)
        assert token is not None
        for parent in range(3):
            version = await releases.reserve()

            def write(folder: Path, version: int = version) -> None:
                (folder / WEIGHTS).write_text(f"{version}")
                SHEET.write(folder)

            name, digest = AdapterFolders(tmp_path).commit(version, write)
            await releases.publish(
                AdapterRelease(version, parent, name, digest, [], {}, 0.0), token
            )
            await promote_by_hand(releases, version)
            moved = time.monotonic()
            await until(lambda: first.policy.live == second.policy.live == version)  # noqa: B023
            assert time.monotonic() - moved < 1.0
    await releases.close()


async def test_feedback_may_come_to_the_other_one(each_server, tmp_path) -> None:
    first, second = (server(each_server.url, tmp_path) for _ in range(2))
    async with first.running(), second.running():
        request = ChatRequest.model_validate(ASKED)
        reply = await first.completions.reply(request, Caller(), Stopwatch())
        async with asyncio.timeout(5.0):
            while await second.feedback_store.recall(reply["id"]) is None:
                await asyncio.sleep(0.01)
        assert (await second.feedback.give(reply["id"], "2", None)).correct is True
        assert not (await first.feedback.give(reply["id"], "2", None)).counted  # twice
