"""Groups through random kills: `make chaos`.

A real Redis that syncs every write, a feeder, a learner (the product's worker with a trainer that
only records what it was trained on) and a judge that promotes or rejects as a server would, each a
process of its own; all are killed at random moments and restarted. They log what they do, and
`loadtests.history_check` finds what was lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import redis

from loadtests import history_check
from ratchet.local.programs import free_port, redis_command, redis_server

_PER_UPDATE = 4
_VICTIMS = {"learner": 0.7, "redis": 0.14, "judge": 0.08, "feeder": 0.08}


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
    from adapter.store.redis.buffer import RedisBuffer
    from adapter.store.redis.releases import RedisReleases
    from adapter.training.scripted_trainer import ScriptedTrainer
    from rewards.advantages import grpo
    from rewards.answers.kinds import AnswerKinds
    from rewards.estimators.majority import Majority

    History(folder, "learner").write("start", pid=os.getpid())
    recipe = Recipe(
        scoring=Scoring(estimator=Majority(), advantage=grpo, kinds=AnswerKinds()),
        groups_per_update=_PER_UPDATE, max_lag=10**6, keep_versions=3,
    )  # fmt: skip
    worker = Worker(
        buffer=RedisBuffer(url), releases=RedisReleases(url), trainer=ScriptedTrainer(),
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


class Chaos:
    """Starts everything, kills and restarts at random, and dumps what is left."""

    def __init__(self, folder: Path, *, groups: int, kills: int, pace: float, seed: int) -> None:
        self.folder, self.groups, self.kills = folder, groups, kills
        self.rng, self.pace, self.port = random.Random(seed), pace, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "redis").mkdir(parents=True)
        (folder / "history-feeder.jsonl").touch()
        self.history = History(folder, "chaos")

    def run(self, seconds: float) -> None:
        """All kills, then wait until idle, for so many seconds at most."""
        deadline = time.monotonic() + seconds
        try:
            for role in _VICTIMS:
                self.start(role)
            for number in range(self.kills):
                time.sleep(self.rng.expovariate(1 / self.pace))
                [victim] = self.rng.choices(list(_VICTIMS), list(_VICTIMS.values()))
                self.kill(victim)
                self.history.write("kill", role=victim)
                self.start(victim)
                print(f"\rkill {number + 1} of {self.kills}", end="", file=sys.stderr, flush=True)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"only {number + 1} kills in {seconds:g} s")
            print(file=sys.stderr)
            self.settle(deadline)
            self.dump()
        finally:
            for role in list(self.running):
                self.kill(role)

    def start(self, role: str) -> None:
        if role == "redis":
            program = redis_server()
            assert program is not None
            command = redis_command(program, self.port, self.folder / "redis")
            command[command.index("everysec")] = "always"
        else:
            command = [
                sys.executable, "-m", "loadtests.chaos", "--role", role, "--url", self.url,
                "--folder", str(self.folder), "--groups", str(self.groups),
                "--pause", str(0.25 * self.pace * self.kills / self.groups),
            ]  # fmt: skip
        with (self.folder / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(command, stdout=log, stderr=log)
        if role == "redis":
            while not self.answers():
                time.sleep(0.02)

    def kill(self, role: str) -> None:
        process = self.running.pop(role)
        ended = process.poll()
        if ended not in (None, 0):
            log = self.folder / f"{role}.log"
            raise RuntimeError(f"{role} ended by itself (status {ended}): see {log}")
        process.kill()
        process.wait()

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> Any:
        return redis.Redis(port=self.port, socket_timeout=5)

    def settle(self, deadline: float) -> None:
        """Wait until the feeder is done and less than a batch is waiting."""
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError("groups are still waiting: the learner hangs")
            fed = self.running["feeder"].poll() == 0
            states = [json.loads(v)["state"] for v in self.client().hvals("{ratchet}:releases")]
            few = self.client().xlen("{ratchet}:groups") < _PER_UPDATE
            if fed and few and "candidate" not in states:
                return
            time.sleep(0.1)

    def dump(self) -> None:
        """What Redis and the live adapter hold, as plain JSON."""
        client = self.client()
        releases = {
            k.decode(): json.loads(v) for k, v in client.hgetall("{ratchet}:releases").items()
        }
        live = int(client.get("{ratchet}:live") or 0)
        weights: list[str] = []
        if live:
            folder = self.folder / "adapters" / releases[str(live)]["folder"]
            weights = (folder / "adapter_model.safetensors").read_text().split()
        totals = client.hgetall("{ratchet}:groups:totals")
        dump = {
            "groups": [_id_in(f[b"g"]) for _, f in client.xrange("{ratchet}:groups")],
            "dead": [_id_in(f[b"g"]) for _, f in client.xrange("{ratchet}:groups:dead")],
            "totals": {name.decode(): int(count) for name, count in totals.items()},
            "releases": releases,
            "ledger": [json.loads(f[b"e"]) for _, f in client.xrange("{ratchet}:ledger")],
            "live": live,
            "weights": weights,
        }
        (self.folder / "dump.json").write_text(json.dumps(dump))


def _id_in(packed: bytes) -> str:
    """The group's id, without product code: three bytes of magic, then zlib, a length, a header."""
    body = zlib.decompress(packed[3:])
    return json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])["id"]


def main() -> int:
    """Run the kills and the check."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos", description=__doc__)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pace", type=float, default=1.0, help="mean seconds between kills")
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/chaos"))
    parser.add_argument("--role", choices=("learner", "feeder", "judge"), help="used by itself")
    parser.add_argument("--url", help="used by itself")
    parser.add_argument("--pause", type=float, default=0.0, help="used by itself")
    chosen = parser.parse_args()
    if chosen.role:
        role = {"learner": learner, "feeder": feeder, "judge": judge}[chosen.role]
        asyncio.run(role(chosen.url, chosen.folder, chosen))
        return 0
    chaos = Chaos(
        chosen.folder,
        groups=chosen.groups,
        kills=chosen.kills,
        pace=chosen.pace,
        seed=chosen.seed,
    )
    chaos.run(chosen.seconds)
    sys.argv[1:] = [str(chosen.folder)]
    return history_check.main()


if __name__ == "__main__":
    sys.exit(main())
