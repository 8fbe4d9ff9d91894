"""Labels from feedback: one a question, as most clients tell it; keys take turns."""

import time
from dataclasses import replace

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_judge import MathJudge
from server.promotion.labels import told_labels
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


def test_users_of_one_key_have_one_voice() -> None:
    """Whoever invents four users does not outvote three keys, nor is heard for all of them."""
    queries = [told("a", "4", key) for key in ("ada", "bob", "carl")]
    queries += [told("a", "5", f"mallory/{user}") for user in "abcd"]
    [found] = agreed(queries, AnswerKinds())
    assert found.label == "4"
    assert found.holder != "mallory"


def test_a_key_is_heard_by_most_of_its_users() -> None:
    queries = [told("a", label, f"ada/{user}") for user, label in enumerate("455")]
    assert [one.label for one in agreed(queries, AnswerKinds())] == ["5"]
    assert agreed(queries[:2], AnswerKinds()) == []


def test_labels_of_kinds_that_are_not_known_are_left_out() -> None:
    later = replace(told("b", "1", "y"), answer=AnswerChoice("telepathy"))
    assert [one.label for one in agreed([later, told("a", "4", "x")], AnswerKinds())] == ["4"]


def test_labels_that_take_too_long_to_compare_do_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(told_labels, "_SECONDS", -1.0)
    hard = [r"\int_0^{%d} x^x dx", r"\int_0^{%d} y^y dy"]
    queries = [told(f"q{at}", hard[n] % at, f"k{n}") for at in range(300) for n in range(2)]
    with MathJudge(5.0) as judge:
        started = time.monotonic()
        assert agreed([*queries, told("a", "4", "x")], AnswerKinds(judge))[-1].label == "4"
        assert time.monotonic() - started < 5.0
