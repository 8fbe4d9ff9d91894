"""Candidates come to life or are turned away, over a scripted engine and in-memory releases."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapter.store.adapter_folders import WEIGHTS
from adapter.store.buffer import BufferUnavailable
from adapter.store.judgement import Cause, Step
from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease, ReleaseState, promote_by_hand, rollback
from server.engine.base import EngineTimeout, EngineUnavailable
from server.parts import Parts
from server.promotion.decision.power import GateCannotDecide
from tests.judging import Bench
from tests.serving import until


class AwayReleases(MemoryReleases):
    """A store whose server is away at times."""

    away, lost, asked = False, False, 0

    async def note_trial(self, version: int, ends: int | None) -> None:
        if self.lost:
            raise BufferUnavailable("lost")
        await super().note_trial(version, ends)

    async def get(self, version: int) -> AdapterRelease:
        if self.away:
            self.asked += 1
            raise BufferUnavailable("away")
        return await super().get(version)


class TakenOver(MemoryReleases):
    """A store whose second renewal of the judge's lease finds another judge, once `taken` is
    set."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.renewals = asyncio.Event(), 0

    async def judges(self, server: str, ttl: float) -> bool:
        self.renewals += 1
        if self.renewals == 2:
            await self.taken.wait()
            return False
        return await super().judges(server, ttl)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_an_honest_candidate_goes_live(bench: Bench) -> None:
    release = await bench.judged(await bench.publish())
    assert release.state is ReleaseState.LIVE
    assert release.reason == "not worse than its parent: +0.000 over 80 queries"
    assert bench.parts.policy.live == 1
    assert release.numbers["parity/to_trainer"] == 0.0
    drawn = bench.metric("ratchet_tokens_total", purpose="judging")
    assert drawn >= release.numbers["gate/tokens"] > 0
    assert bench.metric("ratchet_tokens_total", purpose="probing") == 6  # twice three
    assert {"seconds/load", "seconds/parity", "seconds/gate", "seconds/total"} <= set(
        release.numbers
    )


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        ("constant", "collapse"),
        ("careless", "leaves what its parent agrees on"),
        ("mute", "collapse"),
        ("verbose", "length"),
        ("ignored", "differ"),
    ],
)
async def test_bad_candidates_are_turned_away_and_unloaded(
    bench: Bench, style: str, reason: str
) -> None:
    release = await bench.judged(await bench.publish(style))
    assert release.state is ReleaseState.REJECTED
    assert reason in release.reason
    assert bench.parts.policy.live == 0
    assert bench.engine.adapters == {}


async def test_an_ignorant_base_promotes_nothing(bench: Bench) -> None:
    bench.style["base"] = "ignorant"
    release = await bench.judged(await bench.publish())
    assert release.state is ReleaseState.REJECTED
    assert "too little" in release.reason


async def test_a_damaged_folder_is_never_loaded(bench: Bench, tmp_path: Path) -> None:
    version = await bench.publish()
    name = (await bench.releases.get(version)).folder
    (tmp_path / name / WEIGHTS).write_text("something else")
    release = await bench.judged(version)
    assert release.state is ReleaseState.REJECTED
    assert "not as published" in release.reason


async def test_running_out_of_queries_is_undecided_and_not_a_pass(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate_queries=96)
    release = await bench.judged(await bench.publish("hesitant"))
    assert release.state is ReleaseState.REJECTED
    assert release.reason == "undecided against its parent: -0.031 over 96 queries"
    asked = [request for request in bench.engine.requests if request["model"] == "base"]
    await bench.judged(await bench.publish("hesitant"))
    again = [request for request in bench.engine.requests if request["model"] == "base"]
    assert len(again) == 2 * len(asked)  # on a fresh drawing, so base is sampled anew


async def test_labels_count_beside_the_consensus(tmp_path: Path) -> None:
    """A candidate may repeat the majority and still be wrong by the operator's own questions."""
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(8)))
    bench = Bench(tmp_path / "adapters", gate_file=file)
    assert (await bench.judged(await bench.publish())).state is ReleaseState.LIVE
    release = await bench.judged(await bench.publish())
    assert release.numbers["gate/against_labels/mean"] == 0.0
    worse = await bench.judged(await bench.publish("careless"))
    assert worse.state is ReleaseState.REJECTED
    assert worse.numbers["gate/against_labels/mean"] < -0.2


async def test_too_few_queries_to_begin_with_leave_the_candidate_waiting(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.parts.reservoir.forget({""})
    version = await bench.publish()
    assert (await bench.judged(version)).state is ReleaseState.CANDIDATE
    bench.see_queries(8)
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_an_absent_engine_leaves_the_candidate_waiting(bench: Bench) -> None:
    version = await bench.publish()
    bench.engine.fault = EngineUnavailable("away")
    with pytest.raises(EngineUnavailable):
        await bench.parts.promoter.sync()
    bench.engine.fault = None
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_a_rollback_takes_descendants_of_the_version_along(bench: Bench) -> None:
    await bench.judged(await bench.publish())
    await bench.judged(await bench.publish())
    child = await bench.publish()
    await rollback(bench.releases)
    release = await bench.judged(child)
    assert release.state is ReleaseState.REJECTED
    assert "no longer live" in release.reason
    assert bench.parts.policy.live == 1


async def test_old_versions_are_unloaded_once_nobody_uses_them(bench: Bench) -> None:
    await bench.judged(await bench.publish())
    with bench.parts.policy.lease("ratchet"):
        for _ in range(3):
            await bench.judged(await bench.publish())
        held = (await bench.releases.get(1)).folder
        assert held in bench.engine.adapters
        assert bench.parts.policy.loaded == [0, 3, 4]
    await bench.parts.promoter.versions.drained()
    assert held not in bench.engine.adapters
    assert len(bench.engine.adapters) == 2


async def test_a_restarted_engine_is_given_its_adapters_again(bench: Bench) -> None:
    await bench.judged(await bench.publish())
    loaded = dict(bench.engine.adapters)
    bench.engine.adapters.clear()
    bench.parts.promoter.versions.engine_restarted()
    await bench.parts.promoter.sync()
    assert bench.engine.adapters == loaded


async def test_two_servers_follow_one_pointer(bench: Bench) -> None:
    other = Parts(bench.parts.settings, engine=bench.engine, releases=bench.releases)
    await bench.judged(await bench.publish())
    await other.promoter.sync()
    assert other.policy.live == bench.parts.policy.live == 1


async def test_a_withdrawn_version_is_offered_no_more(bench: Bench) -> None:
    versions = [await bench.publish()]
    await bench.judged(versions[0])
    versions.append(await bench.publish())
    await bench.judged(versions[1])
    assert bench.parts.policy.loaded == [0, 1, 2]
    await rollback(bench.releases)
    withdrawn = (await bench.releases.get(2)).folder
    await bench.releases.withdraw(2, "a client was forgotten")
    bench.folders.remove([withdrawn])
    bench.engine.adapters.clear()  # and the engine has lost everything
    bench.parts.promoter.versions.engine_restarted()
    await bench.parts.promoter.sync()
    assert (bench.parts.policy.live, bench.parts.policy.loaded) == (1, [0, 1])
    assert list(bench.engine.adapters) == [(await bench.releases.get(1)).folder]


async def test_a_flushed_redis_leaves_base_to_serve(bench: Bench) -> None:
    await bench.judged(await bench.publish())
    bench.releases.records.clear()
    bench.releases.pointer = 0
    await bench.parts.promoter.sync()
    assert bench.parts.policy.live == 0


async def test_a_candidate_withdrawn_while_it_is_judged_is_not_served(bench: Bench) -> None:
    version = await bench.publish()
    name = (await bench.releases.get(version)).folder
    script = bench.engine.script

    def withdrawing(model: str, messages: Sequence[Any], n: int) -> list[str]:
        if model == name:
            bench.releases.records[version] = release.withdrawn("a client was forgotten")
        return script(model, messages, n)

    release = await bench.releases.get(version)
    bench.engine.script = withdrawing
    await bench.parts.promoter.sync()
    assert await bench.releases.live() == bench.parts.policy.live == 0
    assert bench.parts.policy.loaded == [0]
    assert name not in bench.engine.adapters


async def test_while_paused_candidates_wait_but_a_rollback_is_followed(bench: Bench) -> None:
    first = await bench.publish()
    await bench.parts.promoter.sync()
    await bench.releases.pause("a look")
    second = await bench.publish()
    await bench.parts.promoter.sync()
    assert (await bench.releases.get(second)).state is ReleaseState.CANDIDATE
    await rollback(bench.releases)
    await bench.parts.promoter.sync()
    assert bench.parts.policy.live == 0
    await bench.releases.pause(None)
    await bench.parts.promoter.sync()
    assert (await bench.releases.get(second)).reason == f"its parent v{first} is no longer live"


async def canary(bench: Bench, version: int) -> "asyncio.Task[AdapterRelease]":
    """A version under judgement that answers its share by now."""
    judging = asyncio.create_task(bench.judged(version))
    await until(lambda: bench.parts.policy.canary == version)
    return judging


async def test_a_canary_answers_its_share_and_is_promoted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5)
    judging = await canary(bench, await bench.publish())
    assert set(await bench.ask(64)) == {0, 1}
    release = await judging
    assert release.state is ReleaseState.LIVE
    assert release.reason == "not worse than its parent: +0.000 over 80 queries"
    assert "seconds/canary" in release.numbers
    assert set(await bench.ask(8)) == {1}


async def test_a_canary_that_real_traffic_turns_against_is_withdrawn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5)
    version = await bench.publish()
    judging = await canary(bench, version)
    bench.style[(await bench.releases.get(version)).folder] = "mute"
    await bench.ask(64)
    release = await judging
    assert release.state is ReleaseState.REJECTED
    assert release.reason.startswith("canary: answers collapse")
    assert release.steps[-1].cause is Cause.COLLAPSE
    assert set(await bench.ask(8)) == {0}
    assert bench.engine.adapters == {}


async def test_a_canary_without_traffic_is_undecided(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5, canary_seconds=1e-9)
    release = await bench.judged(await bench.publish())
    assert release.state is ReleaseState.REJECTED
    assert release.reason == "canary: undecided, too few queries in time"


async def test_a_rollback_ends_a_canary(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5)
    first = await bench.publish()
    judging = await canary(bench, first)
    await bench.ask(64)
    await judging
    second = await bench.publish()
    judging = await canary(bench, second)
    await rollback(bench.releases)
    await bench.parts.promoter.versions.sync()
    release = await judging
    assert release.reason == f"its parent v{first} is no longer live"
    assert set(await bench.ask(32)) == {0}


async def test_a_canary_moved_by_hand_is_left_to_who_moved_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5)
    version = await bench.publish()
    judging = await canary(bench, version)
    await promote_by_hand(bench.releases, version)
    await bench.parts.promoter.versions.sync()
    release = await judging
    assert (release.state, release.reason) == (ReleaseState.LIVE, "promoted by hand")
    assert set(await bench.ask(8)) == {version}


async def test_the_pointer_is_followed_while_a_candidate_is_judged(bench: Bench) -> None:
    """What a trial waits for holds up neither a rollback nor a pause."""
    await bench.judged(await bench.publish())
    child = await bench.publish()
    bench.engine.held_back[0] = asyncio.Event()
    running = asyncio.create_task(bench.parts.promoter.run())
    await until(lambda: bench.engine.under_way)
    await rollback(bench.releases)
    await until(lambda: bench.parts.policy.live == 0)
    bench.engine.held_back[0].set()
    while (release := await bench.releases.get(child)).state is ReleaseState.CANDIDATE:
        await asyncio.sleep(0)
    assert release.reason == "its parent v1 is no longer live"
    running.cancel()
    await asyncio.wait([running])


async def test_a_pause_in_the_middle_of_a_trial_leaves_the_candidate_waiting(bench: Bench) -> None:
    version = await bench.publish()
    bench.engine.held_back[0] = asyncio.Event()
    judging = asyncio.create_task(bench.judged(version))
    await until(lambda: bench.engine.under_way)
    await bench.releases.pause("by hand")
    bench.engine.held_back[0].set()
    assert (await judging).state is ReleaseState.CANDIDATE
    await bench.releases.pause(None)
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_another_judge_in_the_middle_of_a_trial_ends_ours_undecided(tmp_path: Path) -> None:
    """The lease is lost: what we began is broken off, and the candidate is the other's."""
    releases = TakenOver()
    bench = Bench(tmp_path, releases=releases)
    version = await bench.publish()
    bench.engine.held_back[0] = asyncio.Event()
    judging = asyncio.create_task(bench.parts.promoter.judge())
    await until(lambda: bench.engine.under_way)
    releases.taken.set()
    with pytest.raises(BufferUnavailable, match="another server"):
        await judging
    bench.engine.held_back.clear()
    assert (await bench.releases.get(version)).state is ReleaseState.CANDIDATE
    assert bench.engine.under_way == 0
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_a_redis_lost_in_the_middle_of_a_trial_leaves_the_candidate(tmp_path: Path) -> None:
    releases = AwayReleases()
    bench = Bench(tmp_path, releases=releases)
    version = await bench.publish()
    bench.engine.held_back[0] = asyncio.Event()
    judging = asyncio.create_task(bench.parts.promoter.judge())
    await until(lambda: bench.engine.under_way)
    releases.lost = True
    bench.engine.held_back[0].set()
    with pytest.raises(BufferUnavailable):
        await judging
    assert bench.parts.policy.live == 0
    releases.lost = False
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_a_canary_outlives_a_redis_that_is_away(tmp_path: Path) -> None:
    bench = Bench(tmp_path, canary_share=0.5, releases=AwayReleases())
    version = await bench.publish()
    judging = await canary(bench, version)
    bench.releases.away = True
    await until(lambda: bench.releases.asked)
    bench.releases.away = False
    assert set(await bench.ask(64)) == {0, 1}
    assert (await judging).state is ReleaseState.LIVE


async def test_the_ledger_keeps_every_step_with_its_numbers(bench: Bench) -> None:
    release = await bench.judged(await bench.publish("careless"))
    steps = [Step.LINEAGE, Step.FILES, Step.PARITY, Step.TRIAL]
    assert [verdict.step for verdict in release.steps] == steps
    assert [verdict.passed for verdict in release.steps] == [True, True, True, False]
    assert release.steps[-1].cause is Cause.OVERTURNED
    assert release.steps[-1].reference == "parent"
    assert len(release.steps[-1].lost) == 0  # the pooled consensus cannot tell
    assert release.steps[2].numbers["to_trainer"] == 0.0
    assert release.steps[3].numbers["against_parent/overturned"] > 0.18
    record = (await bench.releases.ledger())[-1].record
    assert record is not None
    assert AdapterRelease.from_record(record) == release


async def test_a_version_that_turns_out_worse_is_rolled_back(bench: Bench) -> None:
    await bench.ask(8)
    version = await bench.publish()
    await bench.judged(version)
    bench.style[(await bench.releases.get(version)).folder] = "fickle"
    assert set(await bench.ask(8)) == {version}
    await bench.parts.promoter.sync()
    assert await bench.releases.live() == bench.parts.policy.live == 0
    entry = (await bench.releases.ledger())[-1]
    assert entry.note.startswith("automatic rollback from v1: agreement fell from 0.75 to 0.50")
    assert "side by side: agreement fell" in entry.note
    counted = bench.parts.metrics.registry.get_sample_value
    assert counted("ratchet_rollbacks_total") == 1


async def test_a_lineage_that_drifts_below_its_best_version_goes_back_to_it(tmp_path: Path) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(100)))
    bench = Bench(tmp_path / "adapters", gate_file=file, keep_loaded=3)
    policy, standing = bench.parts.policy, bench.parts.promoter.trial.standing
    for style in ("sure", "nearly", "nearly"):
        await bench.judged(await bench.publish(style))
    assert (policy.live, policy.best) == (3, 1)
    standing.begin(policy.engine_name(3), policy.engine_name(1))
    for number in range(400):
        standing.add(number, -0.25 if number % 4 == 0 else 0.0)
    await bench.parts.promoter.sync()
    assert await bench.releases.live() == policy.live == 1
    entry = (await bench.releases.ledger())[-1]
    assert entry.note.startswith("automatic rollback from v3: worse than the best version: -0.0")
    assert bench.parts.metrics.registry.get_sample_value("ratchet_rollbacks_total") == 1
    await bench.judged(await bench.publish("sure"))
    await bench.parts.promoter.sync()
    assert policy.live == 4  # what was found of others is not held against it


async def test_learning_that_has_locked_in_is_paused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate_lock_in=0.98)
    for _ in range(3):
        assert await bench.releases.paused() is None
        await bench.judged(await bench.publish("sure"))
    why = await bench.releases.paused()
    assert why is not None and why.startswith("locked in")
    later = await bench.judged(await bench.publish("sure"))
    assert later.state is ReleaseState.CANDIDATE  # waits until resumed by hand
    assert later.version == 4 and bench.parts.policy.live == 3


async def test_trials_feed_the_standing_comparison_with_fresh_answers_once(tmp_path: Path) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(3, 2500, 25)))
    bench = Bench(tmp_path / "adapters", gate_file=file, gate_margin=0.3, keep_loaded=3)
    standing = bench.parts.promoter.trial.standing
    for _ in range(2):
        live = await bench.judged(await bench.publish("sure"))
    bench.style[live.folder] = "nearly"
    bench.parts.promoter.trial.probes.refresh()
    for _ in range(2):  # turned away, on one drawing
        await bench.judged(await bench.publish("mute"))
        assert standing.moments.count in (4 + 20, 9 + 40)
    assert -0.125 <= standing.moments.mean < -0.1  # one of eight errs, on the file's


async def test_what_a_version_was_let_pass_by_says_nothing_of_the_lineage(bench: Bench) -> None:
    for style in (
        "sure",
        "sure",
        "mute",
    ):  # on one drawing: v1 is the best, v2 live, v3 turned away
        last = await bench.judged(await bench.publish(style))
    assert (last.state, bench.parts.policy.best) == (ReleaseState.REJECTED, 1)
    assert bench.parts.promoter.trial.standing.moments.count == 0


async def test_traffic_that_changed_is_no_reason_to_roll_back(bench: Bench) -> None:
    """Signals turn because queries got harder for every version: the comparison shows it."""
    await bench.ask(8)
    version = await bench.publish()
    await bench.judged(version)
    for name in ("base", (await bench.releases.get(version)).folder):
        bench.style[name] = "fickle"
    await bench.ask(8)
    await bench.parts.promoter.sync()
    assert await bench.releases.live() == version
    asked = len(bench.engine.requests)
    await bench.ask(8)
    await bench.parts.promoter.sync()
    assert len(bench.engine.requests) == asked + 8  # what was looked into is not looked into again


class Ending:
    """An engine that ends when it has to score an adapter, and is then started again."""

    def __init__(self, bench: Bench, ends: int) -> None:
        self.bench, self.left, self.tried = bench, ends, 0
        bench.engine.scores = self.scores

    def scores(self, model: str, tokens: Sequence[int]) -> list[float]:
        if model != "base":
            self.tried += 1
            if self.left:
                self.left -= 1
                self.bench.engine.fault = EngineUnavailable("ended")
                raise self.bench.engine.fault
        return self.bench.scores(model, tokens)

    async def judge(self) -> None:
        """Let it end, and start it again without adapters."""
        with pytest.raises(EngineUnavailable):
            await self.bench.parts.promoter.sync()
        self.bench.engine.fault = None
        self.bench.engine.adapters.clear()
        self.bench.parts.promoter.versions.engine_restarted()


async def test_a_candidate_that_ends_the_engine_twice_is_tried_no_more(bench: Bench) -> None:
    version, ending = await bench.publish(), Ending(bench, 9)
    await ending.judge()
    await ending.judge()
    release = await bench.judged(version)
    assert (release.state, ending.tried) == (ReleaseState.REJECTED, 2)
    assert release.reason == "the engine ended 2 times while it was tried"
    assert release.steps[-1].cause is Cause.ENGINE_ENDED
    assert await bench.ask(1) == [0]
    assert await bench.releases.tried(version) is None


async def test_an_engine_that_ends_once_costs_the_candidate_nothing(bench: Bench) -> None:
    version, ending = await bench.publish(), Ending(bench, 1)
    await ending.judge()
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_an_engine_that_is_only_slow_has_not_ended(bench: Bench) -> None:
    version, scores = await bench.publish(), bench.engine.scores

    def late(model: str, tokens: Sequence[int]) -> list[float]:
        bench.engine.fault = EngineTimeout("busy")
        raise bench.engine.fault

    for _ in range(4):
        bench.engine.scores = late
        with pytest.raises(EngineTimeout):
            await bench.parts.promoter.sync()
        bench.engine.fault = None
    bench.engine.scores = scores
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_of_several_servers_one_judges(bench: Bench) -> None:
    version = await bench.publish()
    assert await bench.releases.judges("another", 60.0)
    assert (await bench.judged(version)).state is ReleaseState.CANDIDATE
    assert await bench.releases.judges("another", 0.0)
    assert (await bench.judged(version)).state is ReleaseState.LIVE


async def test_the_best_version_so_far_is_a_reference_of_its_own(tmp_path: Path) -> None:
    """Each step is within the margin of its parent, and still the third is not of the best."""
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(100)))
    bench = Bench(tmp_path / "adapters", gate_file=file, keep_loaded=3)
    best = await bench.publish("sure")
    release = await bench.judged(best)
    assert release.numbers["gate/better"] == 1.0
    second = await bench.judged(await bench.publish("nearly"))
    assert second.state is ReleaseState.LIVE
    assert second.numbers["gate/better"] == 0.0
    await bench.parts.promoter.sync()
    assert (bench.parts.policy.live, bench.parts.policy.best) == (second.version, best)
    third = await bench.judged(await bench.publish("nearly"))
    assert "gate/against_best/mean" in third.numbers


async def test_the_best_version_stays_loaded_and_is_loaded_again(tmp_path: Path) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(100)))
    bench = Bench(tmp_path / "adapters", gate_file=file)
    await bench.judged(await bench.publish("sure"))
    for _ in range(3):
        await bench.judged(await bench.publish("sure"))
    assert bench.parts.policy.loaded == [0, 1, 4]  # not the parent of the live one
    other = Parts(bench.parts.settings, engine=bench.engine, releases=bench.releases)
    await other.promoter.sync()
    assert (other.policy.live, other.policy.best, other.policy.loaded) == (4, 1, [0, 1, 4])


async def test_a_label_file_is_read_in_a_new_order_and_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text("".join(f'{{"question": "{n}", "answer": {n}}}\n' for n in range(50)))
    bench = Bench(tmp_path / "adapters", gate_file=file, gate_refresh=1)
    orders: list[list[int]] = []
    for _ in range(2):
        start = len(bench.engine.requests)
        release = await bench.judged(await bench.publish())
        assert release.numbers["gate/against_labels/queries"] == 50
        asked = bench.engine.requests[start:]
        texts = [r["messages"][0]["content"] for r in asked if r["model"] == "base"]
        orders.append([int(text) for text in texts if text.isdigit() and int(text) >= 8])
        assert sorted(orders[-1]) == list(range(8, 50))
    assert orders[0] != orders[1]


def test_a_gate_that_cannot_decide_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(GateCannotDecide, match="gate_queries 32 with gate_rollouts 8"):
        Bench(tmp_path, gate_queries=32)
