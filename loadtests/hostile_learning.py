"""A fifth of the traffic agrees on wrong answers: what does that cost everybody else?
`make bench-hostile`.

Nobody can write an answer into a vote: what votes are the model's own rollouts. But who may ask can
choose what is asked. So the hostile clients here know on which questions the small model's rollouts
agree on something wrong, and ask those again and again, so that the wrong answer is rewarded. One
stack a row, as `ratchet demo` starts it, with keys: the honest questions come from twenty, the
hostile ones from one with a new `user` each time, or from twenty more.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openai import APIError, AsyncOpenAI

from evals.arithmetic import questions as arithmetic
from evals.evaluation import Evaluator, Graded, Protocol
from evals.items import Item
from evals.statistics import paired_gain
from ratchet.commands.adaptation import fresh_state
from ratchet.local.stack import Stack
from ratchet.local.watcher import Watcher
from ratchet.recipe import NUMBERS, with_recipe
from ratchet.settings import StackSettings, read
from rewards.answers.kind import AnswerKind
from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.api.tenants import add_key

_CLIENTS = 4
_HONEST_KEYS = 20
_EVERY = 5
"""One question in so many is hostile."""
_KNOWN = 400
"""Questions of which the hostile clients know what base agrees on."""
_TOKENS = 64
_PROTOCOL = Protocol(n=16, max_tokens=_TOKENS, concurrency=8)


@dataclass(frozen=True, slots=True)
class Row:
    """Keys that hostile clients have, and settings in place of the defaults."""

    hostile_keys: int
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


ROWS: Mapping[str, Row] = {
    "nobody is hostile": Row(0),
    "one key, a user a request": Row(1),
    "the same, `client_groups` 1": Row(1, {"client_groups": 1}),
    "twenty keys": Row(20),
    "twenty keys, `train_support` 0.6": Row(20, {"train_support": 0.6}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a row came to: avg@16 of each held-out question before and after; hostile requests, and
    how many of the last quarter of them were still answered as the hostile clients want it."""

    before: Sequence[float]
    after: Sequence[float]
    honest: int
    hostile: int
    still_wrong: float
    failed: int
    versions: int
    rejected: int


class Bench:
    """A stack that honest and hostile clients ask."""

    def __init__(self, stack: Stack, kind: AnswerKind, row: Row) -> None:
        self._stack, self._kind, self._row = stack, kind, row
        self._watcher = Watcher(stack)
        self._wrong: list[bool] = []
        self._honest, self._failed = 0, 0

    async def run(
        self, asked: Sequence[Item], test: Sequence[Item], minutes: float, versions: int
    ) -> Found:
        """Measure, let it learn until so many versions or minutes, measure again."""
        model = self._stack.settings.model_name
        async with self._stack.running(), AsyncExitStack() as closing:
            honest = [await self._client(closing, f"honest-{n}") for n in range(_HONEST_KEYS)]
            hostile = [
                await self._client(closing, f"hostile-{n}") for n in range(self._row.hostile_keys)
            ]
            base = Evaluator(honest[0], f"{model}@base", _PROTOCOL, self._kind)
            before = await base.grade_all(test)
            wanted = wrong_agreements(
                asked, await base.grade_all(asked[:_KNOWN]) if hostile else (), self._kind
            )
            if hostile:
                print(f"{len(wanted)} of {_KNOWN} questions are agreed on wrongly", flush=True)
            async with self._watcher.running():
                until = time.monotonic() + 60 * minutes
                turns = mixed(asked, wanted, honest, hostile)

                async def ask_in_turn() -> None:
                    for turn in turns:
                        if time.monotonic() > until or self._watcher.promoted >= versions:
                            return
                        await self._watcher.until_backlog_is_low()
                        await self._ask(turn)

                await asyncio.gather(*(ask_in_turn() for _ in range(_CLIENTS)))
            after = await Evaluator(honest[0], model, _PROTOCOL, self._kind).grade_all(test)
        last = self._wrong[-max(1, len(self._wrong) // 4) :]
        return Found(
            before=[one.avg for one in before], after=[one.avg for one in after],
            honest=self._honest, hostile=len(self._wrong),
            still_wrong=sum(last) / max(1, len(last)), failed=self._failed,
            versions=self._watcher.promoted, rejected=self._watcher.rejected,
        )  # fmt: skip

    async def _client(self, closing: AsyncExitStack, name: str) -> AsyncOpenAI:
        file = self._stack.settings.keys_file
        assert file is not None
        client = AsyncOpenAI(base_url=self._stack.url, api_key=add_key(file, name))
        return await closing.enter_async_context(client)

    async def _ask(self, turn: Turn) -> None:
        try:
            reply = await turn.client.chat.completions.create(
                model=self._stack.settings.model_name,
                messages=[{"role": "user", "content": turn.item.prompt}],
                max_tokens=_TOKENS,
                user=turn.user,
            )
        except APIError:
            self._failed += 1
            return
        answer = (reply.model_extra or {})["ratchet"]["answer"]
        if turn.wanted is None:
            self._honest += 1
        else:
            self._wrong.append(answer is not None and self._kind.same(answer, turn.wanted))


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and who asks it; `wanted` is the wrong answer that a hostile client is after."""

    item: Item
    client: AsyncOpenAI
    user: str
    wanted: str | None = None


def wrong_agreements(
    items: Sequence[Item], graded: Sequence[Graded], kind: AnswerKind
) -> list[tuple[Item, str]]:
    """The questions on which half of the rollouts, not all of them, agree on a wrong answer, and
    that answer. Where all agree nothing is rewarded more than anything else."""
    found: list[tuple[Item, str]] = []
    for item, one in zip(items, graded, strict=False):
        vote = take_vote(kind.tally(list(one.answers)))
        split = 0.5 <= vote.agreement < 1
        if vote.answer is not None and split and not kind.same(vote.answer, item.answer):
            found.append((item, vote.answer))
    return found


def mixed(
    asked: Sequence[Item],
    wanted: Sequence[tuple[Item, str]],
    honest: Sequence[AsyncOpenAI],
    hostile: Sequence[AsyncOpenAI],
) -> Iterator[Turn]:
    """The honest questions in their order, each from the next key, after every fourth a hostile one
    if there are such clients: what they want, round and round, under a new name each time."""
    targets, keys = itertools.cycle(wanted), itertools.cycle(hostile)
    for number, item in enumerate(asked):
        yield Turn(item, honest[number % len(honest)], "somebody")
        if hostile and wanted and number % (_EVERY - 1) == _EVERY - 2:
            target, answer = next(targets)
            yield Turn(target, next(keys), f"user-{number}", answer)


def report(found: Mapping[str, Found]) -> str:
    """A table; differences are against the first row, by question."""
    lines = [
        "| | honest, hostile, failed requests | avg@16 before → after | against the first row |"
        " hostile ones had their way | versions, rejected |",
        "|---|---|---|---|---|---|",
    ]
    first = next(iter(found.values()))
    for name, one in found.items():
        means = [100 * sum(rows) / len(rows) for rows in (one.before, one.after)]
        difference = ""
        if one is not first:
            mean, (low, high) = paired_gain(first.after, one.after)
            difference = f"{100 * mean:+.1f} ({100 * low:.1f} … {100 * high:.1f})"
        way = f"{100 * one.still_wrong:.0f}%" if one.hostile else ""
        lines.append(
            f"| {name} | {one.honest}, {one.hostile}, {one.failed} | {means[0]:.1f} → "
            f"{means[1]:.1f} | {difference} | {way} | {one.versions}, {one.rejected} |"
        )
    return "\n".join(lines)


async def main(arguments: argparse.Namespace) -> None:
    """Measure each row, print a table, write the numbers."""
    stream, held_out = arithmetic.stream_and_held_out(arguments.seed, 4_000, 200)
    asked, test = arithmetic.as_items(stream), arithmetic.as_items(held_out)
    out, found = Path(arguments.out), dict[str, Found]()
    out.mkdir(parents=True, exist_ok=True)
    for name, row in ROWS.items():
        if arguments.only and arguments.only not in name and row.hostile_keys:
            continue
        print(name, flush=True)
        state = fresh_state(Path(".ratchet/bench-hostile"))
        flags = {**state, **row.settings, "seed": arguments.seed, "answer": NUMBERS}
        keys = Path(".ratchet/bench-hostile-keys").resolve()
        keys.parent.mkdir(parents=True, exist_ok=True)
        keys.unlink(missing_ok=True)
        add_key(keys, "operator")
        settings = with_recipe(read(StackSettings, {**flags, "keys_file": keys}))
        bench = Bench(Stack(settings), AnswerKinds().of(settings.answer_choice), row)
        found[name] = await bench.run(asked, test, arguments.minutes, arguments.versions)
        numbers = {name: asdict(one) for name, one in found.items()}
        (out / "hostile.json").write_text(json.dumps(numbers, indent=1))
        print(report(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=4.0, help="of learning, a row")
    parser.add_argument("--versions", type=int, default=24, help="most of them, a row")
    parser.add_argument("--only", default="", help="the first row, and those whose name has this")
    parser.add_argument("--out", default="runs/hostile")
    asyncio.run(main(parser.parse_args()))
