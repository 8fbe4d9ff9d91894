from collections import Counter

from rewards.answers.kinds import AnswerKinds
from server.engine.scripted import ScriptedEngine
from server.policy.learning_share import LearningShare
from server.promotion.gate_draws import GateDraws
from server.promotion.probe_set import ProbeRules, ProbeSet
from server.recording.reservoir import Query, Reservoir


def filled(*clients: str) -> Reservoir:
    reservoir = Reservoir(limit=4)
    for number, client in enumerate(clients):
        query = Query([{"role": "user", "content": f"{number}"}], {}, client=client)
        reservoir.add(str(number), query)
    return reservoir


def test_the_oldest_go_first() -> None:
    assert {q.client for q in filled("a", "b", "c", "d", "e").draw(9)} == {"b", "c", "d", "e"}


def test_of_prompts_that_are_held_out_only_those_are_kept() -> None:
    reservoir = Reservoir(one_in=8)
    for number in range(64):
        reservoir.add(f"key{number}", Query(f"prompt {number}", {}))
    kept = sorted(int(str(query.prompt).split()[1]) for query in reservoir.draw(99))
    assert kept[:4] == [6, 8, 28, 31]
    assert len(kept) == 11
    assert reservoir.holds_out("prompt 6")  # in whatever form it is asked
    assert not Reservoir().holds_out("prompt 6")


def of(*holders: str, limit: int = 4) -> Reservoir:
    """Queries of these users, `KEY/USER`, numbered."""
    reservoir = Reservoir(limit)
    for number, name in enumerate(holders):
        content = [{"role": "user", "content": f"{number}"}]
        query = Query(content, {}, client=name, holder=name.partition("/")[0])
        reservoir.add(str(number), query)
    return reservoir


def test_who_has_most_gives_way_first() -> None:
    mine = of("bob", *["eve"] * 9, limit=4)
    assert sorted(query.client for query in mine.draw(9)) == ["bob", "eve", "eve", "eve"]
    several = of("bob", "bob", *[f"eve/{name}" for name in range(9)], limit=4)
    assert Counter(query.holder for query in several.draw(9)) == {"bob": 2, "eve": 2}


def test_within_a_key_it_is_the_user_with_most() -> None:
    mine = of("eve/a", "eve/a", "eve/b", "eve/b", "eve/b", limit=4)
    assert Counter(query.client for query in mine.draw(9)) == {"eve/a": 2, "eve/b": 2}


def test_keys_take_turns_in_a_drawing_and_so_do_their_users() -> None:
    drawn = of(*["eve/a"] * 20, "eve/b", "bob", "bob", limit=99).draw(99)
    assert {query.holder for query in drawn[:2]} == {"eve", "bob"}
    assert Counter(query.holder for query in drawn[:4]) == {"eve": 2, "bob": 2}
    assert {query.client for query in [q for q in drawn if q.holder == "eve"][:2]} == {
        "eve/a", "eve/b",
    }  # fmt: skip
    assert len(drawn) == 23


def test_a_query_asked_again_counts_once() -> None:
    reservoir = of("bob", "eve", "eve", limit=3)
    for _ in range(5):
        reservoir.add("0", Query([], {}, client="bob", holder="bob"))
    reservoir.add("9", Query([], {}, client="eve", holder="eve"))
    assert sorted(query.client for query in reservoir.draw(9)) == ["bob", "eve", "eve"]


def test_a_client_is_forgotten() -> None:
    reservoir = filled("a", "b", "a")
    reservoir.forget({"a", "x"})
    assert [query.client for query in reservoir.draw(9)] == ["b"]
    assert reservoir.forgotten == 2


def test_queries_of_who_was_forgotten_are_asked_no_more() -> None:
    engine = ScriptedEngine(lambda _model, messages, n: [rf"\boxed{{{messages}}}"] * n)
    reservoir = filled("a", "b", "c")
    rules = ProbeRules(minimum=2, rollouts=1, refresh=100, temperature=1.0, seconds=60.0)
    probes = ProbeSet(
        draws=GateDraws(engine=engine, share=LearningShare(alone=8, beside=8)),
        reservoir=reservoir,
        kinds=AnswerKinds(),
        rules=rules,
    )

    def asked() -> set[str]:
        return {probe.query.client for probe in probes.probes(0, 8)}

    reservoir.forget({"c"})
    probes.begin(set())
    reservoir.add("new", Query([{"role": "user", "content": "new"}], {}, client="d"))
    probes.begin(set())
    assert asked() == {"a", "b"}  # as drawn before
    reservoir.forget({"a"})
    assert probes.ready
    probes.begin(set())
    assert asked() == {"b", "d"}
    reservoir.forget({"b"})
    assert not probes.ready


def test_nobody_takes_over_what_another_key_has_asked() -> None:
    reservoir = Reservoir()
    for number in range(5):
        for holder in ("ada", "mallory"):
            options = {"max_tokens": 3 if holder == "mallory" else 99}
            reservoir.add(str(number), Query(f"{number}", options, holder=holder))
    assert len(reservoir) == 5
    drawn = [query for _ in range(40) for query in reservoir.draw(9)]
    assert len(drawn) == 40 * 5
    assert {query.holder for query in drawn} == {"ada", "mallory"}
    reservoir.forget({"mallory"})
    assert [(query.holder, query.options) for query in reservoir.draw(9)] == [
        ("ada", {"max_tokens": 99})
    ] * 5
    assert len(reservoir) == 5
