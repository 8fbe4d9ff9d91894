"""Labels of the operator and of clients decide candidates, and nothing else."""

from pathlib import Path

import pytest

from adapter.store.clients import pseudonym, pseudonyms
from adapter.store.judgement import Cause
from adapter.store.releases import ReleaseState
from server.api.requests import ChatRequest
from server.promotion.decision.asked import Asked
from server.promotion.decision.decision import Decision, DecisionRules
from server.vote.completions import Stopwatch
from server.vote.session import Caller
from tests.judging import Bench

ADA = Caller("ada")


async def told(bench: Bench, question: int, label: str | None, caller: Caller = ADA) -> None:
    """A client asks, and tells the right answer; without a label that the reply was right."""
    message = {"role": "user", "content": str(question)}
    request = ChatRequest.model_validate({"model": "ratchet", "messages": [message]})
    reply = await bench.parts.completions.reply(request, caller, Stopwatch())
    await bench.parts.feedback.give(reply["id"], label, label is None or None)


async def test_feedback_is_asked_against_each_reference_and_decides(tmp_path: Path) -> None:
    """Every answer that is a multiple of 3 is lost; consensus and alarms would let it pass."""
    bench = Bench(tmp_path, gate_max_overturned=1.0, gate_max_novel=1.0, gate_max_drop=1.0)
    for question in range(40):
        await told(bench, question, str(question))
    assert (await bench.judged(await bench.publish("sure"))).state is ReleaseState.LIVE
    bench.style["base"] = "hesitant"
    release = await bench.judged(await bench.publish("careless"))
    assert release.state is ReleaseState.REJECTED
    assert release.numbers["gate/against_labels/queries"] > 0
    assert release.numbers["gate/labels_base/queries"] > 0
    assert release.steps[-1].cause in (Cause.WORSE, Cause.SLICE)


async def test_switched_off_feedback_decides_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate_feedback=0)
    await told(bench, 1, "1")
    release = await bench.judged(await bench.publish())
    assert "gate/against_labels/queries" not in release.numbers


@pytest.mark.parametrize(
    ("label", "kept"), [("7", "7"), (None, "5"), ("", None), ("x" * 10_001, None)]
)
async def test_what_is_kept_of_feedback(
    tmp_path: Path, label: str | None, kept: str | None
) -> None:
    bench = Bench(tmp_path)
    await told(bench, 5, label)
    found = await bench.parts.feedback_store.labelled()
    assert [query.label for query in found] == ([] if kept is None else [kept])
    client, holder = pseudonyms("ada")
    assert all((query.client, query.holder) == (client, holder) for query in found)


async def test_a_denial_names_no_truth_and_is_not_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    message = {"role": "user", "content": "5"}
    request = ChatRequest.model_validate({"model": "ratchet", "messages": [message]})
    reply = await bench.parts.completions.reply(request, ADA, Stopwatch())
    await bench.parts.feedback.give(reply["id"], None, False)
    assert await bench.parts.feedback_store.labelled() == []


async def test_who_is_forgotten_is_asked_no_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for question in range(3):
        await told(bench, question, str(question))
    await told(bench, 4, "4", Caller("bob"))
    await bench.judged(await bench.publish())
    probes = bench.parts.promoter.trial.probes
    assert probes.labels == 4
    await bench.parts.recorder.on_opt_out(pseudonym("ada"))
    assert [probe.query.label for probe in probes.labelled_probes(0, 9)] == ["4"]
    assert len(await bench.parts.feedback_store.labelled()) == 1
    bench.see_queries(8)
    release = await bench.judged(await bench.publish())
    assert release.numbers["gate/against_labels/queries"] == 1


async def test_the_operator_s_label_comes_before_feedback_on_the_same_question(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text('{"question": "5", "answer": "5"}\n')
    bench = Bench(tmp_path / "adapters", gate_file=file)
    await told(bench, 5, "9")
    await told(bench, 6, "6")
    await bench.judged(await bench.publish())
    found = bench.parts.promoter.trial.probes.labelled_probes(0, 9)
    assert sorted(str(probe.query.label) for probe in found) == ["5", "6"]


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (['{"question": "5", "answer": "5"}'], 1),
        (['{"question": "5", "answer": "5"}'] * 20, 1),
        (['{"question": "5", "answer": "nobody says this"}'] * 3, 1),
    ],
    ids=["one item", "repeated", "unanswerable"],
)
async def test_poor_label_files_do_not_turn_honest_candidates_away(
    tmp_path: Path, lines: list[str], asked: int
) -> None:
    file = tmp_path / "gate.jsonl"
    file.write_text("\n".join(lines))
    bench = Bench(tmp_path / "adapters", gate_file=file)
    release = await bench.judged(await bench.publish())
    assert release.state is ReleaseState.LIVE
    assert release.numbers["gate/against_labels/queries"] == asked
    worse = await bench.judged(await bench.publish("careless"))
    assert worse.state is ReleaseState.REJECTED


def test_a_slice_of_one_query_proves_nothing() -> None:
    rules = DecisionRules(margin=0.05, queries=192, max_overturned=0.18, max_novel=0.25)
    decision = Decision(["base"], rules)
    for number in range(192):
        lost = number == 7
        part = "lonely" if lost else "all"
        ours = [1 if lost else 0] * 8
        decision.add(Asked(str(number), [part], ours, {"base": [0] * 8}))
        finding = decision.look()
        if finding is not None:
            break
    assert finding is not None and finding.accepted
