from rewards.answers.kinds import AnswerKinds
from server.engine.scripted import ScriptedEngine
from server.policy.learning_share import LearningShare
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
        engine=engine,
        share=LearningShare(alone=8, beside=8),
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
