"""What queries are called, and their slices."""

from rewards.answer_choice import AnswerChoice
from server.promotion.traffic import balanced, evenly, query_id, slices_of
from server.recording.reservoir import Query


def asked(text: str, client: str = "", kind: str = "math", holder: str = "") -> Query:
    prompt = [{"role": "user", "content": text}]
    return Query(prompt, {}, client=client, answer=AnswerChoice(kind), holder=holder)


def test_equal_prompts_share_an_identifier() -> None:
    assert query_id(asked("What is 1+2?")) == query_id(asked("What is 1+2?", client="c"))
    assert query_id(asked("What is 1+2?")) != query_id(asked("What is 1+3?"))


def test_prompts_that_differ_in_numbers_share_a_template() -> None:
    first, second = slices_of(asked("What is 12.5+3?")), slices_of(asked("What is 7+1,000?"))
    assert first == second
    assert slices_of(asked("How much is 12.5+3?")) != first


def test_a_client_is_a_slice_of_its_own() -> None:
    assert slices_of(asked("?", client="ab12", kind="json"))[2] == "client:ab12"
    assert slices_of(asked("?", kind="json"))[0] == "kind:json"
    assert len(slices_of(asked("?"))) == 2


def test_every_beginning_has_its_share_of_each_client() -> None:
    queries = [asked(f"Is {n} odd?", client="many" if n % 8 else "few") for n in range(96)]
    for _ in range(20):
        drawn = [query.client for query in evenly(queries)]
        assert (len(drawn), drawn.count("few")) == (96, 12)
        assert 2 <= drawn[:24].count("few") <= 4
    assert evenly([]) == []


def test_clients_are_asked_in_turn_and_none_has_more_than_half() -> None:
    queries = [asked(f"Is {n} odd?", client="many" if n % 10 else "few") for n in range(100)]
    queries += [asked(f"Say {n}", client="third") for n in range(10)]
    for _ in range(20):
        drawn = [query.client for query in evenly(balanced(queries))]
        assert sorted(set(drawn)) == ["few", "many", "third"]
        assert (len(drawn), drawn.count("many")) == (40, 20)
        assert min(drawn[:16].count(client) for client in ("few", "third")) >= 3
    alone = [asked(f"{n}", client="only") for n in range(5)]
    assert len(balanced(alone)) == 5
    assert balanced([]) == []
    unknown = [asked(f"{n}") for n in range(9)] + [asked("?", client="known")]
    assert len(balanced(unknown)) == 10  # who they are is not known: perhaps many


def test_a_key_counts_with_all_its_users() -> None:
    queries = [asked(f"{n}", client=f"eve/{n}", holder="eve") for n in range(20)]
    queries += [asked(f"bob {n}", client="bob", holder="bob") for n in range(3)]
    kept = balanced(queries)
    assert [query.holder for query in kept] == ["eve"] * 3 + ["bob"] * 3
    assert kept[:3] == queries[:3]


def test_a_single_query_of_somebody_else_does_not_leave_two() -> None:
    queries = [asked(f"{n}", client="many") for n in range(50)] + [asked("?", client="one")]
    assert len(balanced(queries, least=16)) == 16
    assert len(balanced(queries, least=99)) == 51
