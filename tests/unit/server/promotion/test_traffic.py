"""What queries are called, and their slices."""

from rewards.answer_choice import AnswerChoice
from server.promotion.traffic import evenly, query_id, slices_of
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


def test_every_beginning_has_its_share_of_each_client() -> None:
    queries = [asked(f"Is {n} odd?", client="many" if n % 8 else "few") for n in range(96)]
    for _ in range(20):
        drawn = [query.client for query in evenly(queries)]
        assert (len(drawn), drawn.count("few")) == (96, 12)
        assert 2 <= drawn[:24].count("few") <= 4
    assert evenly([]) == []
