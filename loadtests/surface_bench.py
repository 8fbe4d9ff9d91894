"""What Responses and Messages cost beside chat: `make bench-surfaces`.

One server before the canned upstream, one closed-loop client after another's turn: CPU of the
server's process a request, voted over 8 rollouts, the same streamed, and one rollout streamed; and
how long the first text takes of a stream of one rollout by one client. Surfaces take turns in short
rounds; what is compared is the median round's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from loadtests.serving_load import CHAT, MESSAGES, RESPONSES, Load, Surface, requests_of
from loadtests.serving_sides import Side, Stage

_SURFACES = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
_LIMITS = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}
_CLIENTS, _WARM_UP = 4, 200
_MOST_RATIO, _MOST_ADDED = 1.2, 2.0


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking: `rollouts` a request, whole or as a stream."""

    title: str
    rollouts: int
    stream: bool


_WAYS = (Way("voted", 8, False), Way("voted, streamed", 8, True), Way("single, streamed", 1, True))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way on one surface: CPU milliseconds a request, first text in milliseconds."""

    cpu: float
    first: float


async def main() -> None:
    """All ways on all surfaces, as a table."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.surface_bench", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each surface [7]")
    parser.add_argument("--requests", type=int, default=400, help="requests of a turn [400]")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        async with Stage(Path(scratch)) as stage:
            side = await stage.ratchet(await stage.upstream("short"), rollouts=8)
            costs = {way: await _costs(side, way, chosen.rounds, chosen.requests) for way in _WAYS}
    print(table(costs))


async def _costs(side: Side, way: Way, rounds: int, requests: int) -> Mapping[str, Cost]:
    """The costs of one way, by surface."""
    spent: dict[str, list[float]] = {name: [] for name in _SURFACES}
    first: dict[str, list[float]] = {name: [] for name in _SURFACES}
    loads = {name: _load(side, name, surface, way) for name, surface in _SURFACES.items()}
    for one, several in loads.values():
        await several.run(3600.0, _WARM_UP)
        await one.run(3600.0, _WARM_UP // 10)
    for _ in range(rounds):
        for name, (one, several) in loads.items():
            await side.settle()
            before = side.cpu()
            replies = await several.run(3600.0, requests)
            await side.settle()
            spent[name].append((side.cpu() - before) / requests * 1000)
            alone = await one.run(3600.0, requests // 10)
            if any(reply.failed for reply in [*replies, *alone]):
                raise RuntimeError(f"a request of {name} has failed")
            first[name].append(median(reply.to_first for reply in alone) * 1000)
    return {name: Cost(median(spent[name]), median(first[name])) for name in _SURFACES}


def _load(side: Side, name: str, surface: Surface, way: Way) -> tuple[Load, Load]:
    """One client, and several."""
    body: dict[str, Any] = {
        "model": side.model,
        "stream": way.stream,
        _LIMITS[name]: 48,
        "ratchet": {"rollouts": way.rollouts, "train": False},
    }
    asked = requests_of(side.port, body, side.key, surface=surface)
    return Load(side.port, asked, 1, surface), Load(side.port, asked, _CLIENTS, surface)


def table(costs: Mapping[Way, Mapping[str, Cost]]) -> str:
    """Markdown: a row for each way and surface, what misses its target in bold."""
    rows: Sequence[str] = [
        "| | surface | CPU a request, ms | of chat's | first text, ms |",
        "|---|---|---|---|---|",
    ]
    for way, by_surface in costs.items():
        chat = by_surface["chat"]
        for name, cost in by_surface.items():
            ratio = _bold(f"{cost.cpu / chat.cpu:.2f}", cost.cpu > _MOST_RATIO * chat.cpu)
            late = way.stream and cost.first > chat.first + _MOST_ADDED
            first = _bold(f"{cost.first:.2f}", late)
            rows = [*rows, f"| {way.title} | {name} | {cost.cpu:.2f} | {ratio} | {first} |"]
    return "\n".join(rows)


def _bold(text: str, missed: bool) -> str:
    return f"**{text}**" if missed else text


if __name__ == "__main__":
    uvloop.run(main())
