"""Labels from feedback: one a question, as most clients tell it; keys take turns."""

from rewards.answers.kinds import AnswerKinds
from server.promotion.labels.told_labels import agreed, chosen
from server.recording.reservoir import Query


def told(question: str, label: str, client: str) -> Query:
    message = {"role": "user", "content": question}
    return Query([message], {}, label, client=client, holder=client.split("/")[0])


def test_the_label_that_most_clients_tell_counts() -> None:
    queries = [told("a", "4", "x"), told("a", "5", "y"), told("a", "4.0", "z"), told("b", "1", "x")]
    found = agreed(queries, AnswerKinds())
    assert sorted((q.prompt[0]["content"], q.label) for q in found) == [("a", "4"), ("b", "1")]


def test_where_as_many_tell_another_there_is_none() -> None:
    assert agreed([told("a", "4", "x"), told("a", "5", "y")], AnswerKinds()) == []


def test_nobody_owns_the_labels() -> None:
    many = [told(f"q{n}", "1", "loud/u") for n in range(50)]
    found = chosen([*many, told("r", "2", "quiet"), told("s", "2", "still")], 6)
    assert len(found) == 6
    assert {query.holder for query in found} == {"loud", "quiet", "still"}
