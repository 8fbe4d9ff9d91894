"""What queries are called, and their slices."""

from rewards.answer_choice import AnswerChoice
from server.promotion.traffic import in_turn, query_id, slices_of
from server.recording.reservoir import Query


def asked(text: str, client: str = "", kind: str = "math") -> Query:
    prompt = [{"role": "user", "content": text}]
    return Query(prompt, {}, client=client, answer=AnswerChoice(kind))


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


def test_clients_are_asked_in_turn_and_none_has_more_than_half() -> None:
    queries = [asked(f"Is {n} odd?", client="many" if n % 10 else "few") for n in range(100)]
    queries += [asked(f"Say {n}", client="third") for n in range(10)]
    for _ in range(20):
        drawn = [query.client for query in in_turn(queries)]
        assert sorted(set(drawn)) == ["few", "many", "third"]
        assert (len(drawn), drawn.count("many")) == (40, 20)
        assert min(drawn[:16].count(client) for client in ("few", "third")) >= 3
    alone = [asked(f"{n}", client="only") for n in range(5)]
    assert len(in_turn(alone)) == 5
    assert in_turn([]) == []
    unknown = [asked(f"{n}") for n in range(9)] + [asked("?", client="known")]
    assert len(in_turn(unknown)) == 10  # who they are is not known: perhaps many
