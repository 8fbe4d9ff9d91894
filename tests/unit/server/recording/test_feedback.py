"""Labels that come later, for metrics and the gate."""

import asyncio

import httpx
import pytest

from adapter.store.buffer import BufferUnavailable
from server.recording.feedback import Answered
from tests.serving import Api, serving, until


async def give(api: Api, completion_id: str, **what: object) -> httpx.Response:
    body = {"completion_id": completion_id, **what}
    return await api.client.post("/v1/feedback", json=body)


async def answered(api: Api) -> str:
    reply = (await api.chat()).json()  # 4, 5, 4 and no answer
    await until(lambda: not api.parts.feedback.unstored)
    return reply["id"]


def accuracy(api: Api, kind: str) -> float | None:
    return api.parts.metrics.registry.get_sample_value("ratchet_accuracy_ratio", {"kind": kind})


async def test_a_right_answer() -> None:
    async with serving() as api:
        reply = await give(api, await answered(api), label="4.0")
        assert reply.json()["correct"] is True
        assert reply.json()["counted"] is True
        assert (accuracy(api, "label"), accuracy(api, "maj")) == (1.0, 1.0)
        assert (accuracy(api, "avg"), accuracy(api, "reward")) == (0.5, 1.0)


async def test_a_wrong_answer_still_rewards_most_rollouts_rightly() -> None:
    async with serving() as api:
        reply = await give(api, await answered(api), label="5")
        assert reply.json()["correct"] is False
        assert (accuracy(api, "label"), accuracy(api, "maj")) == (0.0, 0.0)
        # The three others are wrong: two of them were rewarded, and so were not told so.
        assert (accuracy(api, "avg"), accuracy(api, "reward")) == (0.25, 0.25)


@pytest.mark.parametrize(("correct", "maj"), [(True, 1.0), (False, 0.0)])
async def test_a_verdict_without_a_label(correct: bool, maj: float) -> None:
    async with serving() as api:
        reply = await give(api, await answered(api), correct=correct)
        assert reply.json()["correct"] is correct
        assert accuracy(api, "maj") == maj
        assert accuracy(api, "reward") == (1.0 if correct else None)  # a denial names no truth


async def test_figures_are_means() -> None:
    async with serving() as api:
        for label in ("4", "5", "4", "4"):
            await give(api, await answered(api), label=label)
        assert accuracy(api, "maj") == 0.75


async def test_each_answer_counts_once() -> None:
    async with serving() as api:
        completion = await answered(api)
        await give(api, completion, label="4")
        again = await give(api, completion, label="5")
        assert (again.status_code, again.json()["counted"]) == (200, False)
        assert accuracy(api, "maj") == 1.0


async def test_an_unknown_or_too_old_answer_is_a_404() -> None:
    async with serving(feedback_seconds=1e-9) as api:
        for completion in ("chatcmpl-nothing", await answered(api)):
            reply = await give(api, completion, label="4")
            assert (reply.status_code, reply.json()["error"]["param"]) == (404, "completion_id")


@pytest.mark.parametrize(
    "what", [{}, {"label": "4", "correct": True}, {"label": ""}, {"correct": "yes"}, {"lable": "4"}]
)
async def test_mistakes_are_a_400(what: dict[str, object]) -> None:
    async with serving() as api:
        assert (await give(api, "chatcmpl-x", **what)).status_code == 400


async def test_the_label_goes_nowhere_else() -> None:
    async with serving() as api:
        await give(api, await answered(api), label="8675309")
        assert await api.recorded() == 1
        [delivery] = await api.parts.buffer.read(1, 0.0)
        assert "8675309" not in repr(delivery)
        assert b"8675309" not in api.parts.metrics.expose()
        store = api.parts.feedback_store
        assert [query.label for query in await store.labelled()] == ["8675309"]
        others = {name: kept for name, kept in vars(store).items() if name != "_labels"}
        assert "8675309" not in repr(others)


async def test_without_redis_it_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as api:

        async def away(_: str) -> None:
            raise BufferUnavailable("away")

        monkeypatch.setattr(api.parts.feedback_store, "recall", away)
        reply = await give(api, "chatcmpl-x", label="4")
        assert (reply.status_code, "retry-after" in reply.headers) == (503, True)


async def test_feedback_may_come_before_the_answer_is_stored() -> None:
    async with serving() as api:
        store = api.parts.feedback_store
        stored = asyncio.Event()
        remember = store.remember

        async def slowly(answered: list[tuple[str, Answered]]) -> None:
            await stored.wait()
            await remember(answered)

        store.remember = slowly  # type: ignore[method-assign]
        reply = (await api.chat()).json()
        assert (await give(api, reply["id"], label="4")).json()["correct"] is True
        stored.set()
        await until(lambda: not api.parts.feedback.unstored)
        assert (await give(api, reply["id"], label="4")).json()["counted"] is False


async def test_what_cannot_be_stored_ends_nothing_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as api:
        store = api.parts.feedback_store
        remember = store.remember

        async def picky(batch: list[tuple[str, Answered]]) -> None:
            if any(key == "odd" for key, _ in batch):
                raise TypeError("Recursion limit reached")
            await remember(batch)

        monkeypatch.setattr(store, "remember", picky)
        for key in ("a", "odd", "b"):
            api.parts.feedback.remember(key, Answered(["4"], "4"))
        await until(lambda: not api.parts.feedback.unstored)
        kept = [await store.recall(key) is not None for key in ("a", "odd", "b")]
        assert kept == [True, False, True]
        assert not api.parts.failed.is_set()


async def test_no_answer_stays_behind_in_the_statistics() -> None:
    async with serving() as api:
        api.engine.script = lambda *_: [r"\boxed{Zanzibar}"] * 4
        assert "Zanzibar" in (await api.chat()).text
        assert "Zanzibar" not in repr(vars(api.parts.signals))
        votes = len(api.parts.signals._records[0])  # noqa: SLF001
        await api.chat(store=False)
        assert len(api.parts.signals._records[0]) == votes  # noqa: SLF001
