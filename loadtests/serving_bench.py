"""What Ratchet costs in front of an engine, compared with the engine alone and LiteLLM's proxy:
`make bench-serving`.

- A: vLLM with the small model, 8 rollouts a request. Direct, through `ratchet serve` (recording
  into a real Redis), through LiteLLM.
- B: the same in front of an upstream that answers at once (`loadtests.serving_upstream`): the
  gateway's own cost.
- C: one rollout, streamed a token every 20 ms: time to the first text.
- D: 16 rollouts of skewed lengths, three of four right: the early decision of a vote, which must be
  certain, against waiting for all 16, for which the upstream itself is asked.
- E: 8 rollouts of 2,000 tokens.
- F (`--soak N`): memory over N requests of B, in a hundred portions; memory is read once the
  recorder's queue is empty.

Direct and LiteLLM return n choices, Ratchet its voted answer: it reads as many rollouts, with
token ids and log-probabilities. Both gateways check a key. Sides take turns in short
rounds, 8 closed-loop clients each. CPU is that of the gateway's processes, its recording included;
`direct` has none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from loadtests.serving_load import Load, requests_of
from loadtests.serving_report import Soak, Turn, figures, plot, tables, targets
from loadtests.serving_sides import DIRECT, LITELLM, RATCHET, Side, Stage

_WARM_UP = 2.0
_SOAK_SAMPLES = 100
_SOAK_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison. `shape` is the canned upstream's, None for the real engine; `seconds` is how
    long one turn takes; `fields` are sent by every side's clients."""

    title: str
    shape: str | None
    seconds: float
    _: KW_ONLY
    n: int = 8
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sides: Sequence[str] = (DIRECT, RATCHET, LITELLM)

    def body(self, side: Side) -> dict[str, Any]:
        """A request without its messages."""
        body = {"model": side.model, **self.fields}
        if side.name == RATCHET:
            return {**body, "ratchet": {"rollouts": self.n, "confidence": 1.0}}
        return {**body, "n": self.n}


PARTS = {
    "A": Part("vLLM, n = 8", None, 10.0, fields={"max_tokens": 48, "temperature": 1.0}),
    "B": Part("canned upstream, n = 8", "short", 5.0, fields={"max_tokens": 48}),
    "C": Part("streaming, n = 1", "streamed", 8.0, n=1, fields={"stream": True}),
    "D": Part("skewed lengths, k = 16", "skewed", 8.0, n=16, sides=(DIRECT, RATCHET)),
    "E": Part("8 x 2,000 tokens", "long", 5.0, sides=(RATCHET,)),
}


async def main() -> None:
    """All parts, then tables, a picture and the figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.serving_bench", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--parts", default="ABCDE", help="which of them [ABCDE]")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side [5]")
    parser.add_argument("--clients", type=int, default=8, help="requests in flight [8]")
    parser.add_argument("--scale", type=float, default=1.0, help="of every turn's length [1]")
    parser.add_argument("--litellm", type=Path, help="LiteLLM's program; without it, no such side")
    parser.add_argument("--soak", type=int, default=0, help="requests of part F [0: none]")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-serving"))
    chosen = parser.parse_args()
    started = time.monotonic()
    if chosen.litellm is None:
        _log("LiteLLM is left out: say where its program is with --litellm")
    turns: list[Turn] = []
    for name in chosen.parts:
        turns += await _part(name, PARTS[name], chosen)
    soak = await _soak(chosen.soak, chosen.clients) if chosen.soak else None
    found = figures(turns)
    wanted = targets(found, soak)
    result = {
        "clients": chosen.clients,
        "rounds": chosen.rounds,
        "seconds": round(time.monotonic() - started),
        "parts": found,
        "targets": [asdict(target) for target in wanted],
        "soak": soak and soak.figures(),
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    titles = {name: part.title for name, part in PARTS.items()}
    plot(chosen.out / "serving.png", turns, titles, soak)
    print(f"\n{chosen.clients} clients, {chosen.rounds} rounds. Times in ms.\n")
    print(tables(found, wanted))
    print(f"\n{chosen.out}/result.json, {chosen.out}/serving.png")


async def _part(name: str, part: Part, chosen: argparse.Namespace) -> list[Turn]:
    """All turns of one part."""
    with tempfile.TemporaryDirectory() as scratch:
        async with Stage(Path(scratch)) as stage:
            _log(f"{name}: {part.title}")
            sides = await _sides(stage, part, chosen.litellm)
            loads = [
                Load(side.port, requests_of(side.port, part.body(side), side.key), chosen.clients)
                for side in sides
            ]
            for side, load in zip(sides, loads, strict=True):
                await _check_reply(side, part)
                await load.run(_WARM_UP * min(1.0, chosen.scale))
                await side.settle()
            turns: list[Turn] = []
            pairs = list(zip(sides, loads, strict=True))
            for number in range(chosen.rounds):
                shift = number % len(pairs)
                for side, load in pairs[shift:] + pairs[:shift]:
                    turns.append(await _turn(name, side, load, part.seconds * chosen.scale))
                    _log(f"round {number + 1}: {turns[-1]}")
            return turns


async def _sides(stage: Stage, part: Part, litellm: Path | None) -> list[Side]:
    direct = await (stage.engine() if part.shape is None else stage.upstream(part.shape))
    sides = [direct] if DIRECT in part.sides else []
    if RATCHET in part.sides:
        sides.append(await stage.ratchet(direct, part.n))
    if LITELLM in part.sides and litellm is not None:
        sides.append(await stage.litellm(direct, litellm))
    return sides


async def _turn(name: str, side: Side, load: Load, seconds: float) -> Turn:
    recorded, cpu, begun = await side.settle(), side.cpu(), time.perf_counter()
    replies = await load.run(seconds)
    ended = time.perf_counter()
    recorded_now = await side.settle()
    used = side.cpu() - cpu
    side.check()
    return Turn(
        name,
        side.name,
        ended - begun,
        replies,
        cpu=None if side.name == DIRECT else used,
        recorded=None if recorded is None or recorded_now is None else recorded_now - recorded,
    )


async def _check_reply(side: Side, part: Part) -> None:
    """Check one whole reply: raise RuntimeError if the side does not do what is measured."""
    messages = [{"role": "user", "content": "What is 12+34?"}]
    body = {**part.body(side), "messages": messages}
    body.pop("stream", None)
    key = {"authorization": f"Bearer {side.key}"}
    async with (
        aiohttp.ClientSession(side.url) as session,
        session.post("/v1/chat/completions", json=body, headers=key) as reply,
    ):
        it = await reply.json()
    if side.name == RATCHET:
        right = reply.status == 200 and it["ratchet"]["recorded"] == (part.n > 1)
    else:
        right = reply.status == 200 and len(it["choices"]) == part.n
    if not right:
        raise RuntimeError(f"{side.name} answers {reply.status}: {json.dumps(it)[:500]}")
    if side.name == RATCHET and part.n > 1 and not await side.settle():
        raise RuntimeError("a group that is to be recorded is not")


async def _soak(requests: int, clients: int) -> Soak:
    """Memory of our server over so many requests of part B."""
    part, counts, rss = PARTS["B"], [0], [0]
    with tempfile.TemporaryDirectory() as scratch:
        async with Stage(Path(scratch)) as stage:
            _log(f"F: {requests} requests")
            side = await stage.ratchet(await stage.upstream(part.shape or ""), part.n)
            load = Load(side.port, requests_of(side.port, part.body(side), side.key), clients)
            rss[0] = side.rss()
            ends = time.monotonic() + _SOAK_SECONDS
            while counts[-1] < requests and time.monotonic() < ends:
                portion = min(max(1, requests // _SOAK_SAMPLES), requests - counts[-1])
                replies = await load.run(_SOAK_SECONDS, portion)
                if any(reply.failed for reply in replies):
                    raise RuntimeError("a request has failed")
                await side.settle()
                counts.append(counts[-1] + len(replies))
                rss.append(side.rss())
                if len(counts) % 10 == 1:
                    _log(f"{counts[-1]} requests: {rss[-1] / 2**20:.1f} MiB")
            side.check()
    return Soak(counts, rss)


def _log(text: object) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    uvloop.run(main())
