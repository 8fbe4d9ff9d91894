"""Ratchet over several hosts: `make bench-scale`. Root, and Debian's iproute2 and haproxy.

Network namespaces as hosts: four engines (two vLLM, two small ones on transformers), three servers,
a learner of two ranks, Redis and a balancer, each on its own, and clients who keep asking. Hosts
are cut off, slowed and healed, and servers replaced, while it learns.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.hosts.faults import FAULTS, Phase, play
from loadtests.hosts.fleet import Answer, Fleet

_ROW = "| {} | {:.0f} | {} | {} | {} | {:.2f} | {:.2f} | {:.2f} | {} |"


def row(phase: Phase) -> str:
    """A row of the table."""
    beside = ", ".join(f"{name} {value:.3g}" for name, value in phase.measured.items())
    times = [phase.quantile(share) for share in (0.5, 0.99, 1.0)]
    return _ROW.format(
        phase.name, phase.seconds, len(phase.answers), phase.failed, phase.retried, *times, beside
    )


async def run(folder: Path, clients: int, seconds: float, names: Sequence[str]) -> list[Answer]:
    """All faults in turn; prints a row for each. Returns every answer since the start, those
    between two faults too."""
    print(f"starting the fleet; its logs are in {folder}", flush=True)
    async with Fleet(folder, clients) as fleet:
        print("\n| what | s | asked | failed | asked again | p50, s | p99, s | longest, s | |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in names:
            print(row(await play(fleet, name, FAULTS[name], seconds)), flush=True)
        releases = await fleet.releases()
        answers = fleet.answers(0.0, time.time())
    states = [release.state.value for release in releases]
    counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    print(f"\nversions: {counted}; the learner was started again {fleet.restarts} times")
    return answers


def main() -> int:
    """Runs it; 1 if any request of a client failed."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.hosts", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each fault")
    parser.add_argument("--only", help="faults whose names have this text")
    parser.add_argument("--out", type=Path, help="folder for logs, which is kept")
    chosen = parser.parse_args()
    names = [name for name in FAULTS if (chosen.only or "") in name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (chosen.out or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        answers = asyncio.run(run(folder, chosen.clients, chosen.seconds, names))
    failed = sum(bool(answer.failed) for answer in answers)
    print(f"{failed} of {len(answers)} requests failed, those between faults included")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
