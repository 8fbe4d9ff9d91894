"""What runs under `loadtests.chaos`: each role a process of its own, which logs what it does."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

PER_UPDATE = 4


class History:
    """One process's log, each line synced to disk before the next operation."""

    def __init__(self, folder: Path, role: str) -> None:
        self._file = folder / f"history-{role}.jsonl"

    def write(self, op: str, **what: Any) -> None:
        """Append a line and sync it; after a newline, as a killed process may leave half a line."""
        line = json.dumps({"at": time.time(), "op": op, **what})
        with self._file.open("a") as file:
            file.write(f"\n{line}\n")
            file.flush()
            os.fsync(file.fileno())


async def learner(url: str, folder: Path, _: argparse.Namespace) -> None:
    """The product's worker."""
    from adapter.learner.recipe import Recipe
    from adapter.learner.scoring import Scoring
    from adapter.learner.worker import Worker
    from adapter.store.adapter_folders import AdapterFolders
    from adapter.store.buffer import BufferLimits
    from adapter.store.redis.buffer import RedisBuffer
    from adapter.store.redis.releases import RedisReleases
    from adapter.training.scripted_trainer import ScriptedTrainer
    from rewards.advantages import grpo
    from rewards.answers.kinds import AnswerKinds
    from rewards.estimators.majority import Majority

    History(folder, "learner").write("start", pid=os.getpid())
    recipe = Recipe(
        scoring=Scoring(estimator=Majority(), advantage=grpo, kinds=AnswerKinds()),
        groups_per_update=PER_UPDATE, max_lag=10**6, keep_versions=3,
    )  # fmt: skip
    kept = BufferLimits(keep_trained_seconds=86_400)  # whose they are is checked at the end
    worker = Worker(
        buffer=RedisBuffer(url, kept), releases=RedisReleases(url), trainer=ScriptedTrainer(),
        folders=AdapterFolders(folder / "adapters"), recipe=recipe, lease_seconds=0.6,
    )  # fmt: skip
    await worker.run()


async def feeder(url: str, folder: Path, chosen: argparse.Namespace) -> None:
    """Appends every group not yet known to be recorded, under the live version."""
    from adapter.store.buffer import BufferUnavailable
    from adapter.store.redis.buffer import RedisBuffer
    from adapter.store.redis.releases import RedisReleases
    from rewards.rollouts import Rollout, RolloutGroup, Sampling

    done = {
        json.loads(line)["id"]
        for line in (folder / "history-feeder.jsonl").read_text().splitlines()
        if '"result"' in line and line.endswith("}")
    }
    history, buffer, releases = History(folder, "feeder"), RedisBuffer(url), RedisReleases(url)
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5], [-0.5], "stop") for a in "112"]
    for number in range(chosen.groups):
        name = f"g{number:05}"
        while name not in done:
            try:
                version = await releases.live()
                group = RolloutGroup(name, name, [1], rollouts, version, Sampling(), "c", 0.0)
                history.write("append", id=name)
                result = await buffer.append(group)
                history.write("append", id=name, result=result.value)
                done.add(name)
            except BufferUnavailable:
                await asyncio.sleep(0.05)
            await asyncio.sleep(chosen.pause)


async def judge(url: str, folder: Path, chosen: argparse.Namespace) -> None:
    """Promotes four candidates of five."""
    from adapter.store.buffer import BufferUnavailable
    from adapter.store.redis.releases import RedisReleases
    from adapter.store.releases import ReleaseState

    history, releases = History(folder, "judge"), RedisReleases(url)
    rng, seen = random.Random(os.getpid()), ""
    while True:
        try:
            for release in await releases.all():
                if release.state is not ReleaseState.CANDIDATE:
                    continue
                version = release.version
                if rng.random() < 0.8:
                    history.write("promote", version=version)
                    moved = await releases.promote(version, release.parent, "")
                    history.write("promote", version=version, result=str(moved).lower())
                else:
                    history.write("reject", version=version)
                    await releases.reject(version, "unlucky")
                    history.write("reject", version=version, result="true")
            seen = await releases.wait(seen, 0.5)
        except BufferUnavailable:
            await asyncio.sleep(0.05)


async def server(url: str, folder: Path, chosen: argparse.Namespace) -> None:
    """The product's server over a scripted engine, without its port: answers a question for every
    fourth group, each of a client of its own. Judging is the judge's affair: it is paused."""
    from server.api.requests import ChatRequest
    from server.engine.base import EngineError
    from server.engine.scripted import ScriptedEngine
    from server.parts import Parts
    from server.settings import ServerSettings
    from server.vote.completions import Stopwatch
    from server.vote.session import Caller

    log = folder / "history-server.jsonl"
    done = {
        json.loads(line)["client"]
        for line in (log.read_text().splitlines() if log.exists() else ())
        if '"answer"' in line and line.endswith("}")
    }
    history = History(folder, "server")
    settings = ServerSettings(
        redis_url=url, adapters_dir=folder / "adapters", rollouts=3, train_rollouts=0,
        gate_holdout=0,
    )  # fmt: skip
    engine = ScriptedEngine(lambda _model, _prompt, n: [rf"\boxed{{{a}}}" for a in "112"[:n]])
    parts = Parts(settings, engine=engine)
    async with parts.running():
        for number in range(chosen.groups // 4):
            client = f"q{number:05}"
            if client in done:
                continue
            message = {"role": "user", "content": f"question {client}?"}
            request = ChatRequest.model_validate({"model": "ratchet", "messages": [message]})
            history.write("ask", client=client)
            try:
                reply = await parts.completions.reply(request, Caller(client), Stopwatch())
            except EngineError as error:
                history.write("answer", client=client, recorded=False, error=str(error))
            else:
                history.write("answer", client=client, recorded=reply["ratchet"]["recorded"])
            await asyncio.sleep(4 * chosen.pause)


ROLES = {"learner": learner, "feeder": feeder, "judge": judge, "server": server}
