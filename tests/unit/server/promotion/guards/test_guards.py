"""A candidate that has passed its trial is put to the guard suite, relative to base."""

from pathlib import Path

import pytest

from adapter.explanation import explanation
from adapter.store.judgement import Cause, Step
from adapter.store.releases import ReleaseState
from server.api.requests import ChatRequest
from server.engine.base import EngineRefused
from server.parts import Parts
from server.promotion.guards.suite import PROSE
from server.vote.completions import Stopwatch
from server.vote.session import Caller
from tests.judging import ITEMS, Bench

TASKS = sum(item.area != PROSE for item in ITEMS.values())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.does_tasks = True
    return made


def asked(bench: Bench, model: str) -> list[str]:
    """The areas of the tasks that a policy was asked."""
    prompts = [r["messages"][0]["content"] for r in bench.engine.requests if r["model"] == model]
    return [ITEMS[prompt].area for prompt in prompts if prompt in ITEMS]


async def answering(bench: Bench, **extension: object) -> int:
    """The version that answers a request with this `ratchet` field."""
    message = {"role": "user", "content": "5"}
    body = {"model": "ratchet", "messages": [message], "ratchet": extension}
    completions = bench.parts.completions
    reply = await completions.reply(ChatRequest.model_validate(body), Caller(), Stopwatch())
    return reply["ratchet"]["policy_version"]


async def test_who_does_what_base_does_answers_everything(bench: Bench) -> None:
    release = await bench.judged(await bench.publish())
    assert release.state is ReleaseState.LIVE
    assert release.steps[-1].step is Step.GUARDS and release.steps[-1].cause is None
    assert (release.numbers["guards/tasks"], release.numbers["guards/lost"]) == (100, 0)
    assert release.reason.startswith("not worse than its parent")
    assert await answering(bench, strategy="single") == 1
    assert "does 100 of 100 tasks of the guard suite that base does" in explanation(release)
    assert "base's own replies: +0.000 nats per token" in explanation(release)


async def test_harm_sends_what_no_trial_sees_to_base(bench: Bench) -> None:
    release = await bench.judged(await bench.publish("no json"))
    assert release.state is ReleaseState.LIVE
    verdict = release.steps[-1]
    assert (verdict.cause, verdict.slice, verdict.reference) == (Cause.GUARD, "guard:json", "base")
    assert set(verdict.lost) <= {item.id for item in ITEMS.values() if item.area == "json"}
    assert "of json that base does; what no trial sees goes to base" in release.reason
    assert await answering(bench) == 1
    assert await answering(bench, strategy="single") == 0
    assert await answering(bench, answer="text") == 0
    assert bench.metric("ratchet_unjudged_version") == 0
    why = explanation(release)
    assert "guards: passed, with harm" in why and "lost queries: json-" in why


async def test_a_version_without_the_harm_answers_everything_again(bench: Bench) -> None:
    await bench.judged(await bench.publish("narrow"))
    assert await answering(bench, strategy="single") == 0
    await bench.judged(await bench.publish())
    assert await answering(bench, strategy="single") == 2


async def test_a_pinned_version_answers_whatever_was_found(bench: Bench) -> None:
    await bench.judged(await bench.publish("narrow"))
    assert bench.parts.policy.resolve("ratchet@v1", judged=False) == 1


async def test_another_server_knows_of_the_harm_by_the_record(bench: Bench) -> None:
    await bench.judged(await bench.publish("narrow"))
    other = Parts(bench.parts.settings, engine=bench.engine, releases=bench.releases)
    await other.promoter.sync()
    assert (other.policy.live, other.policy.unjudged) == (1, 0)


@pytest.mark.parametrize("style", ["narrow", "honest"])
async def test_harm_may_turn_candidates_away(tmp_path: Path, style: str) -> None:
    bench = Bench(tmp_path, gate_guard="reject")
    bench.does_tasks = True
    release = await bench.judged(await bench.publish(style))
    if style == "honest":
        assert release.state is ReleaseState.LIVE
        return
    assert release.state is ReleaseState.REJECTED
    assert release.steps[-1].cause is Cause.GUARD
    assert release.reason == "fails 100 of 100 of the tasks that base does"
    assert bench.metric("ratchet_gate_verdicts_total", verdict="rejected", step="guards") == 1


async def test_switched_off_it_asks_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate_guard="off")
    bench.does_tasks = True
    release = await bench.judged(await bench.publish("narrow"))
    assert release.steps[-1].step is Step.TRIAL
    assert asked(bench, "base") == []
    assert await answering(bench, strategy="single") == 1


async def test_replies_of_base_that_become_unlikely_are_harm(bench: Bench) -> None:
    bench.likelihood = -1.3
    release = await bench.judged(await bench.publish())
    assert release.steps[-1].cause is Cause.LIKELIHOOD
    assert release.numbers["guards/likelihood"] == pytest.approx(-0.3)
    assert bench.parts.policy.unjudged == 0


async def test_base_does_each_task_but_once_and_slices_cover_the_suite(bench: Bench) -> None:
    for _ in range(9):
        await bench.judged(await bench.publish())
    areas = asked(bench, "base")
    assert len(areas) - areas.count(PROSE) == TASKS
    tried = {name for name in bench.style if name != "base"}
    each = [asked(bench, name) for name in tried]
    assert {len(one) for one in each} == {100}  # no prose: that is only scored
    assert all(16 <= one.count(area) <= 24 for one in each for area in set(one))


async def test_a_base_that_does_nothing_is_given_up_soon_and_promotes(bench: Bench) -> None:
    bench.does_tasks = False
    for _ in range(3):
        release = await bench.judged(await bench.publish())
        assert release.state is ReleaseState.LIVE
    assert len(asked(bench, "base")) == 48
    assert release.numbers["guards/tasks"] == release.numbers["guards/tokens"] == 0
    assert bench.parts.policy.unjudged == 3


async def test_an_engine_that_refuses_the_tasks_promotes_all_the_same(bench: Bench) -> None:
    """A base model without a chat template, or with a context that is too short."""
    script = bench.engine.script

    def refusing(model: str, messages: list[dict[str, str]], n: int) -> object:
        if messages[0]["content"] in ITEMS:
            raise EngineRefused(400, "the prompt is too long")
        return script(model, messages, n)

    bench.engine.script = refusing  # type: ignore[assignment]
    assert (await bench.judged(await bench.publish())).state is ReleaseState.LIVE


async def test_the_cost_is_counted_by_purpose(bench: Bench) -> None:
    before = bench.metric("ratchet_tokens_total", purpose="judging")
    release = await bench.judged(await bench.publish())
    drawn = bench.metric("ratchet_tokens_total", purpose="judging") - before
    assert drawn == release.numbers["gate/tokens"] + release.numbers["guards/tokens"]
    assert bench.metric("ratchet_tokens_total", purpose="probing") > 6
