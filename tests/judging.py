"""A server without HTTP that judges candidates, over a scripted engine and in-memory releases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.memory_releases import MemoryReleases
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease
from server.api.requests import ChatRequest
from server.engine.scripted import ScriptedEngine
from server.parts import Parts
from server.promotion.guards.suite import guard_suite
from server.recording.reservoir import Query
from server.settings import ServerSettings
from server.vote.completions import Stopwatch
from server.vote.session import Caller

BASE_SCORES, ADAPTER_SCORES = [-1.5, -2.5], [-1.0, -2.0]
SHEET_TOKENS = [1, 2, 3]
ITEMS = {item.question: item for item in guard_suite()}


class Bench:
    """A server without HTTP. `style` tells how each adapter answers; base `does_tasks` of the guard
    suite or not, and its own replies have that `likelihood` under adapters."""

    does_tasks, likelihood = False, -1.0

    def __init__(
        self, tmp_path: Path, releases: MemoryReleases | None = None, **settings: Any
    ) -> None:
        self.style: dict[str, str] = {}
        self.engine = ScriptedEngine(self.script)
        self.engine.scores = self.scores
        self.releases = releases or MemoryReleases()
        self.folders = AdapterFolders(tmp_path)
        given = {
            "gate_prompts": 8,
            "gate_holdout": 0,
            "gate_lock_in": 1.0,
            "gate_rollouts": 8,
            "watch_queries": 8,
            **settings,
        }
        self.parts = Parts(
            ServerSettings(
                redis_url="memory://", adapters_dir=tmp_path, **{"vote_confidence": 1.0, **given}
            ),
            engine=self.engine,
            releases=self.releases,
        )
        self.see_queries(8)

    def see_queries(self, count: int) -> None:
        for number in range(count):
            query = Query([{"role": "user", "content": f"{number}"}], {})
            self.parts.reservoir.add(str(number), query)

    def script(self, model: str, messages: Sequence[Any], n: int) -> list[str]:
        style, content = self.style.get(model, "honest"), str(messages[0]["content"])
        if not content.isdigit():
            return self.task(style, content, n)
        question = int(content)
        if style == "sure":
            return [rf"\boxed{{{question}}}"] * n
        if style == "nearly":
            return [
                rf"\boxed{{{99 if i == 0 and question % 25 == 3 else question}}}" for i in range(n)
            ]
        if style == "hesitant" and question % 4 == 0:
            return [rf"\boxed{{{question if i > 2 else 99}}}" for i in range(n)]
        if style == "ignorant":
            return [rf"\boxed{{{question * 1000 + i}}}" for i in range(n)]
        if style == "constant":
            return [r"\boxed{1}"] * n
        if style == "mute":
            return ["?"] * n
        if style == "careless" and question % 3 == 0:
            return [rf"\boxed{{{question + 50}}}"] * n
        if style == "fickle":
            return [rf"\boxed{{{99 if i % 2 else question}}}" for i in range(n)]
        if style == "verbose":
            return ["so " * 40 + rf"\boxed{{{question}}}"] * n
        return [rf"\boxed{{{question if i % 4 else 99}}}" for i in range(n)]

    def task(self, style: str, content: str, n: int) -> list[str]:
        """The reply to a task of the guard suite, as base or one with that style gives it."""
        item = ITEMS[content]
        if not self.does_tasks or item.answer is None:
            return ["prose"] * n
        return ["?" if style in ("narrow", f"no {item.area}") else item.answer] * n

    def scores(self, model: str, tokens: Sequence[int]) -> list[float]:
        if list(tokens) != SHEET_TOKENS:
            return [self.likelihood if model != "base" else -1.0] * (len(tokens) - 1)
        ignored = model == "base" or self.style.get(model) == "ignored"
        return BASE_SCORES if ignored else ADAPTER_SCORES

    async def publish(self, style: str = "honest") -> int:
        version = await self.releases.reserve()

        def write(folder: Path) -> None:
            (folder / WEIGHTS).write_text(f"{version}")
            ProbeSheet([SHEET_TOKENS], [ADAPTER_SCORES], [BASE_SCORES]).write(folder)

        name, digest = self.folders.commit(version, write)
        self.style[name] = style
        token = await self.releases.acquire(5.0)
        assert token is not None
        parent = await self.releases.live()
        await self.releases.publish(
            AdapterRelease(version, parent, name, digest, [f"g{version}"], {"kl": 0.1}, 0.0), token
        )
        await self.releases.resign(token)
        return version

    async def ask(self, count: int) -> list[int]:
        """Voted queries over the live name; returns the versions that answered."""
        versions: list[int] = []
        for number in range(count):
            body = {"model": "ratchet", "messages": [{"role": "user", "content": str(number % 8)}]}
            request = ChatRequest.model_validate(body)
            reply = await self.parts.completions.reply(request, Caller(), Stopwatch())
            versions.append(reply["ratchet"]["policy_version"])
        return versions

    def metric(self, name: str, **labels: str) -> float:
        return self.parts.metrics.registry.get_sample_value(name, labels) or 0.0

    async def judged(self, version: int) -> AdapterRelease:
        await self.parts.promoter.sync()
        return await self.releases.get(version)
