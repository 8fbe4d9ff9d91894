"""The gate's queries: drawn once for several trials, with the same noise for every policy."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from rewards.answers.kinds import AnswerKinds
from server.engine.base import EngineUnavailable, Priority
from server.engine.scripted import ScriptedEngine
from server.policy.learning_share import LearningShare
from server.promotion.gate_draws import GateDraws
from server.promotion.probe_set import ProbeRules, ProbeSet
from server.recording.reservoir import Query, Reservoir
from tests.serving import until


def script(_model: str, messages: Sequence[Any], n: int) -> list[str]:
    return [rf"\boxed{{{messages[0]['content']}}}"] * n


class Bench:
    def __init__(self, queries: int = 4, refresh: int = 3, seconds: float = 60.0) -> None:
        self.share = LearningShare(alone=64, beside=2, quiet=0.0)
        self.engine = ScriptedEngine(script)
        self.engine.adapters["v1"] = "folder"
        self.reservoir = Reservoir()
        self.see(queries)
        self.probes = ProbeSet(
            draws=GateDraws(engine=self.engine, share=self.share),
            reservoir=self.reservoir,
            kinds=AnswerKinds(),
            rules=ProbeRules(
                minimum=4, rollouts=2, refresh=refresh, temperature=0.7, seconds=seconds
            ),
        )

    def see(self, queries: int) -> None:
        for number in range(queries):
            query = Query([{"role": "user", "content": str(number)}], {"max_tokens": 9})
            self.reservoir.add(str(number), query)


async def test_every_policy_draws_with_the_same_noise() -> None:
    bench = Bench()
    bench.probes.begin({"base", "v1"})
    probes = bench.probes.probes(0, 4)
    assert len({probe.seed for probe in probes}) == 4
    for name in ("base", "v1"):
        replies = await bench.probes.replies(name, probes)
        assert [r.answers for r in replies] == [[p.query.prompt[0]["content"]] * 2 for p in probes]
    seeds = [(r["model"], r["messages"][0]["content"], r["seed"]) for r in bench.engine.requests]
    by_model = {m: sorted(s[1:] for s in seeds if s[0] == m) for m in ("base", "v1")}
    assert by_model["base"] == by_model["v1"]
    first = bench.engine.requests[0]
    assert (first["n"], first["temperature"], first["max_tokens"]) == (2, 0.7, 9)
    assert first["priority"] > 0  # after whatever clients ask


async def test_a_drawing_outlives_a_trial_and_what_was_sampled_is_kept() -> None:
    bench = Bench()
    for _ in range(3):
        bench.probes.begin({"base", "v1"})
        await bench.probes.replies("base", bench.probes.probes(0, 4))
    assert len(bench.engine.requests) == 4
    bench.probes.begin({"base", "v1"})  # the fourth trial draws anew
    await bench.probes.replies("base", bench.probes.probes(0, 4))
    assert len(bench.engine.requests) == 8


async def test_replies_of_policies_out_of_use_are_forgotten() -> None:
    bench = Bench()
    bench.probes.begin({"base", "v1"})
    await bench.probes.replies("v1", bench.probes.probes(0, 4))
    bench.probes.begin({"base"})
    bench.probes.begin({"base", "v1"})
    await bench.probes.replies("v1", bench.probes.probes(0, 4))
    assert len(bench.engine.requests) == 8


def test_queries_come_round_again_with_another_seed() -> None:
    bench = Bench()
    bench.probes.begin(set())
    probes = bench.probes.probes(0, 8)
    contents = [probe.query.prompt[0]["content"] for probe in probes]
    assert contents[:4] == contents[4:]
    assert len({probe.seed for probe in probes}) == 8


def test_far_more_queries_are_a_reason_to_draw_anew() -> None:
    bench = Bench()
    bench.probes.begin(set())
    before = bench.probes.probes(0, 4)
    bench.see(8)
    bench.probes.begin(set())
    assert bench.probes.probes(0, 4) != before
    assert len({p.query.prompt[0]["content"] for p in bench.probes.probes(0, 8)}) == 8


def test_too_few_queries_decide_nothing() -> None:
    assert not Bench(queries=3).probes.ready
    assert Bench(queries=4).probes.ready


async def test_a_rollout_that_is_not_in_in_time_counts_as_no_answer() -> None:
    bench = Bench(seconds=0.05)
    bench.engine.held_back[1] = asyncio.Event()
    bench.probes.begin({"base"})
    [probe, *_] = bench.probes.probes(0, 1)
    [reply] = await bench.probes.replies("base", [probe])
    assert reply.answers == [probe.query.prompt[0]["content"], None]
    assert reply.tokens == len(r"\boxed{0}")
    assert not bench.share.under_way


async def test_beside_clients_the_gate_asks_for_little_at_a_time_and_in_line_with_them() -> None:
    bench, waiting = Bench(), [1]
    bench.share.clients = lambda: waiting[0]
    bench.engine.held_back[0] = asyncio.Event()
    bench.probes.begin({"base"})
    asking = asyncio.create_task(bench.probes.replies("base", bench.probes.probes(0, 4)))
    await until(lambda: bench.engine.under_way == 1)
    assert bench.share.under_way == 2
    waiting[0] = 0
    bench.share.changed()
    await until(lambda: bench.engine.under_way == 4)
    bench.engine.held_back[0].set()
    assert len(await asking) == 4
    asked = [request["priority"] for request in bench.engine.requests]
    assert asked == [Priority.CLIENT, *[Priority.GATE] * 3]


async def test_what_fails_takes_the_others_with_it() -> None:
    bench = Bench()
    bench.engine.held_back[0] = asyncio.Event()
    bench.probes.begin({"base"})
    asking = asyncio.create_task(bench.probes.replies("base", bench.probes.probes(0, 4)))
    await until(lambda: bench.engine.under_way == 4)
    bench.engine.fault = EngineUnavailable("gone")
    bench.engine.held_back[0].set()
    with pytest.raises(EngineUnavailable):
        await asking
    assert (bench.engine.under_way, bench.share.under_way) == (0, 0)


async def test_what_a_policy_was_tried_by_is_known_until_the_next_drawing() -> None:
    bench = Bench()
    bench.probes.begin({"base", "v1"}, "v1")
    first, second = bench.probes.probes(0, 2)
    for name in ("base", "v1"):
        await bench.probes.replies(name, [first])
    assert bench.probes.unselected("base", first) and not bench.probes.unselected("v1", first)
    bench.probes.begin({"base", "v1"}, "v2")  # v1 has passed, and is live
    await bench.probes.replies("v1", [first, second])
    assert not bench.probes.unselected("v1", first)
    assert bench.probes.unselected("v1", second)
    bench.probes.refresh()
    assert bench.probes.unselected("v1", first)
