"""Groups through random kills: `make chaos`.

A real Redis that syncs every write, a feeder, a learner (the product's worker with a trainer that
only records what it was trained on), a server that answers questions and a judge that promotes or
rejects as a server would, each a process of its own (`loadtests.chaos_roles`); all are killed at
random moments and restarted. They log what they do, and `loadtests.history_check` finds what was
lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
from loadtests.chaos_roles import PER_UPDATE, ROLES, History
from ratchet.local.programs import free_port, redis_command, redis_server

_VICTIMS = {"learner": 0.6, "redis": 0.14, "server": 0.1, "judge": 0.08, "feeder": 0.08}
_PAUSED = "{ratchet}:paused"


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
            self.client().set(_PAUSED, "the judge judges")

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
            fed = all(self.running[role].poll() == 0 for role in ("feeder", "server"))
            states = [json.loads(v)["state"] for v in self.client().hvals("{ratchet}:releases")]
            few = self.client().xlen("{ratchet}:groups") < PER_UPDATE
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
        streams = {
            name: [_header_in(f[b"g"]) for _, f in client.xrange("{ratchet}:groups" + name)]
            for name in ("", ":dead", ":kept")
        }
        dump = {
            "groups": [header["id"] for header in streams[""]],
            "dead": [header["id"] for header in streams[":dead"]],
            "clients": {h["id"]: h["client"] for headers in streams.values() for h in headers},
            "totals": {name.decode(): int(count) for name, count in totals.items()},
            "releases": releases,
            "ledger": [json.loads(f[b"e"]) for _, f in client.xrange("{ratchet}:ledger")],
            "live": live,
            "weights": weights,
        }
        (self.folder / "dump.json").write_text(json.dumps(dump))


def _header_in(packed: bytes) -> dict[str, Any]:
    """A group's header, without product code: three bytes of magic, zlib, a length, the header."""
    body = zlib.decompress(packed[3:])
    return json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])


def main() -> int:
    """Run the kills and the check."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos", description=__doc__)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pace", type=float, default=1.0, help="mean seconds between kills")
    parser.add_argument("--seconds", type=float, default=600.0, help="give up after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/chaos"))
    parser.add_argument("--role", choices=tuple(ROLES), help="used by itself")
    parser.add_argument("--url", help="used by itself")
    parser.add_argument("--pause", type=float, default=0.0, help="used by itself")
    chosen = parser.parse_args()
    if chosen.role:
        asyncio.run(ROLES[chosen.role](chosen.url, chosen.folder, chosen))
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
