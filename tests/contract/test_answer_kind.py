"""One suite over every answer kind, without and with the judge of mathematics.

A new kind needs a line in EXAMPLES.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.answer_choice import AnswerChoice
from rewards.answers.kind import AnswerKind, answers_of, cluster_of
from rewards.answers.kinds import ANSWER_KINDS, AnswerKinds
from rewards.answers.math_judge import MathJudge
from rewards.rollouts import FINISHED, Rollout

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Examples:
    """`choice`: how the kind is asked for. `texts`: finished rollouts and the answer of each, None
    where there is none. Pairs of answers that have one form (`plain`), that are the same in two
    forms (`same`) or only by a judge (`judged`), and that differ (`different`)."""

    choice: AnswerChoice
    texts: dict[str, str | None]
    plain: Pairs
    different: Pairs
    same: Pairs = ()
    judged: Pairs = ()

    @property
    def pairs(self) -> Pairs:
        return [*self.plain, *self.same, *self.judged, *self.different]

    @property
    def answers(self) -> list[str]:
        """Every answer that occurs, once."""
        return sorted({answer for pair in self.pairs for answer in pair})


EXAMPLES = {
    "math": Examples(
        choice=AnswerChoice("math"),
        texts={r"so \boxed{\frac12}": r"\frac12", "The answer is 7.": "7", "no idea": None},
        plain=[("1/2", "0.5"), (r"\frac12", "1/2"), ("1,000", "1e3"), ("(A)", "A"), ("No", "no")],
        same=[("1/3", "0.333333"), ("0.666667", r"\frac23")],
        judged=[("x + 1", "1 + x"), (r"\sqrt{4}", "2"), (r"\{1,2\}", r"\{2,1\}")],
        different=[("1", "2"), ("A", "B"), ("(1,2)", "(2,1)"), ("x + 1", "x + 2"), ("yes", "no")],
    ),
    "auto": Examples(
        choice=AnswerChoice("auto"),
        texts={
            "The answer is 7.": "7",
            "**Tokyo**": "Tokyo",
            '{"a": 1}': '{"a": 1}',
            "Dear Sir, your 2 parcels of March 2025 are on their way. We thank you, 12": None,
        },
        plain=[("Tokyo", "tokyo."), ("0.5", "1/2"), ('{"a": 1, "b": 2}', '{"b":2.0,"a":1}')],
        same=[("5 km", "5"), ("50%", "0.5")],
        judged=[("x + 1", "1 + x")],
        different=[("Tokyo", "Kyoto"), ('{"a": 1}', '{"a": 2}'), ("5 MW", "5 mW"), ("7", "8")],
    ),
    "short": Examples(
        choice=AnswerChoice("short"),
        texts={
            "Positive.": "Positive.",
            "**yes**": "yes",
            "I do not know what this could be": None,
        },
        plain=[("Positive", "positive."), ("7", "7.0"), ("2024-01-15", "15 January 2024")],
        different=[("Positive", "Negative"), ("Aa", "aa"), ("x + 1", "1 + x"), ("E. coli", "E")],
    ),
    "choice": Examples(
        choice=AnswerChoice("choice", options=("positive", "negative", "very negative")),
        texts={
            "It is positive!": "positive",
            "**Very negative**": "very negative",
            "positive or negative": None,
            "I would not call it positive": None,
            "neutral": None,
        },
        plain=[("positive", "Positive"), ("very negative", "Very  negative.")],
        different=[("positive", "negative"), ("negative", "very negative")],
    ),
    "pattern": Examples(
        choice=AnswerChoice("pattern", pattern=r"ID: (\w+-\d+)"),
        texts={"ID: ab-1, no, ID: ab-2": "ab-2", "id ab-1": None, "ID: -": None},
        plain=[("ab-1", " ab-1 ")],
        different=[("ab-1", "ab-2"), ("ab-1", "AB-1"), ("ab-1", "ab-01")],
    ),
    "json": Examples(
        choice=AnswerChoice("json"),
        texts={
            '{"a": 1}': '{"a": 1}',
            "```json\n[1, 2]\n```": "[1, 2]",
            '{"a": NaN}': None,
            '{"a": 1, "a": 2}': None,
            'So: {"a": 1}': None,
        },
        plain=[('{"a": 1, "b": [2]}', '{"b":[2.0],"a":1e0}'), ("null", " null ")],
        different=[('{"a": 1}', '{"a": "1"}'), ("[1, 2]", "[2, 1]"), ('{"a": 1}', '{"A": 1}')],
    ),
    "tool_calls": Examples(
        choice=AnswerChoice("tool_calls"),
        texts={"It is sunny.": "[]"},
        plain=[
            (
                '[{"name":"f","arguments":{"a":1,"b":2}}]',
                '[{"arguments":{"b":2.0,"a":1},"name":"f"}]',
            ),
            ('[{"name":"f"},{"name":"g"}]', '[{"name":"g"},{"name":"f"}]'),
        ],
        different=[
            ('[{"name":"f","arguments":{"a":1}}]', '[{"name":"f","arguments":{"a":2}}]'),
            ('[{"name":"f","arguments":{}}]', "[]"),
            ('[{"name":"f"}]', '[{"name":"f"},{"name":"f"}]'),
        ],
    ),
    "text": Examples(
        choice=AnswerChoice("text"),
        texts={"<think>hm</think> A dog ran. ": "A dog ran.", "<think>hm": None},
        plain=[("A dog ran.", "A dog ran.")],
        different=[("A dog ran.", "A dog sat."), ("yes", "Yes")],
    ),
}


@pytest.fixture(scope="module", params=["alone", "judged"])
def judge(request) -> Iterator[MathJudge | None]:
    if request.param == "alone":
        yield None
    else:
        with MathJudge(deadline=30) as judge:
            assert judge("x + 1", "1 + x")  # its worker runs from here on
            yield judge


@pytest.fixture(scope="module", params=ANSWER_KINDS)
def kind(request, judge) -> AnswerKind:
    return AnswerKinds(judge).of(EXAMPLES[request.param].choice)


@pytest.fixture(scope="module")
def examples(kind: AnswerKind) -> Examples:
    return EXAMPLES[kind.name]


def finished(text: str) -> Rollout:
    return Rollout(text, (), (), FINISHED)


def clusters(kind: AnswerKind, answers: Sequence[str | None]) -> set[frozenset[str | None]]:
    """Which of the answers are counted as one."""
    tally = kind.tally(answers)
    return {frozenset(answers[row] for row in rows) for rows in tally.members}


def test_every_kind_goes_by_its_name_and_has_examples() -> None:
    assert set(EXAMPLES) == set(ANSWER_KINDS)
    for name, examples in EXAMPLES.items():
        assert (examples.choice.kind, AnswerKinds().of(examples.choice).name) == (name, name)


def test_reads_the_answer_of_a_finished_rollout(kind, examples) -> None:
    read = answers_of(kind, [finished(text) for text in examples.texts])
    assert read == list(examples.texts.values())


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_rollout_has_no_answer(kind, text: str) -> None:
    assert kind.read(finished(text)) is None


@pytest.mark.parametrize("reason", ["length", "abort", ""])
def test_a_rollout_that_was_cut_short_has_no_answer(kind, examples, reason: str) -> None:
    for text in examples.texts:
        assert kind.read(Rollout(text, (), (), reason)) is None


def test_a_rollout_that_repeats_itself_has_no_answer(kind, examples) -> None:
    for text in examples.texts:
        assert kind.read(finished(f"{text}\n" * (8_192 // len(text)))) is None


@given(text=st.text(max_size=200))
@settings(deadline=None)
def test_what_is_read_is_an_answer_of_its_own(kind, text: str) -> None:
    answer = kind.read(finished(text))
    if answer is not None:
        assert answer.strip()
        assert kind.same(answer, answer)
        assert kind.tally([answer, None]).clusters == [0, None]


hostile = st.lists(
    st.sampled_from(
        [
            r"\boxed{",
            "}",
            "$",
            "```",
            "\n",
            "The answer is ",
            "####",
            "<answer>",
            "</answer>",
            "<think>",
            "</think>",
            "答案是",
            "{",
            "[",
            '"',
            ":",
            ",",
            "1",
            "/",
            "-",
            "^",
            "**",
            "_",
            ".",
            "e",
            "A",
            "(",
            ")",
            " ",
            "%",
            "€",
            "½",
            "²",
            "\ud800",
            "\x00",
            "٣",
            "NaN",
            "1e999",
            "ID: x-1",
            "positive",
            "not ",
            "J. ",
            "No. ",
            "kg",
            "pm",
            "of",
            "2024-01-15",
            "\u202e",
            "\ufeff",
            "😀",
        ]
    ),
    max_size=16,
).map("".join)


@given(texts=st.lists(hostile, min_size=1, max_size=5))
@settings(deadline=None, max_examples=300)
def test_nothing_crashes_it_and_the_same_goes_both_ways(examples, texts: list[str]) -> None:
    kind = AnswerKinds().of(examples.choice)
    answers = answers_of(kind, [finished(text) for text in texts])
    tally = kind.tally(answers)
    assert all(answer is None or answer.strip() for answer in answers)
    assert clusters(kind, answers) == clusters(kind, answers[::-1])
    for first, second in pairwise(answers):
        if first is not None and second is not None:
            assert kind.same(first, first)
            assert kind.same(first, second) == kind.same(second, first)
            assert kind.closeness(first, second) == kind.closeness(second, first)
    assert len(tally.forms) == len(tally.members)


def test_an_answer_is_the_same_as_itself(kind, examples) -> None:
    for answer in examples.answers:
        assert kind.same(answer, answer)
        assert kind.closeness(answer, answer) == 1.0


def test_pairs_that_are_the_same(kind, examples, judge) -> None:
    for first, second in [*examples.plain, *examples.same]:
        assert kind.same(first, second), (first, second)
    for first, second in examples.judged:
        assert kind.same(first, second) == (judge is not None), (first, second)


def test_pairs_that_differ(kind, examples) -> None:
    for first, second in examples.different:
        assert not kind.same(first, second), (first, second)


def test_sameness_and_closeness_agree_both_ways(kind, examples) -> None:
    for first in examples.answers:
        for second in examples.answers:
            same, closeness = kind.same(first, second), kind.closeness(first, second)
            assert kind.same(second, first) == same
            assert kind.closeness(second, first) == closeness
            assert 0.0 <= closeness <= 1.0
            assert closeness == 1.0 or not same


def test_a_pair_shares_a_cluster_if_it_is_the_same(kind, examples) -> None:
    for pair in examples.pairs:
        tally = kind.tally(pair)
        assert tally.clusters == [0, 0 if kind.same(*pair) else 1], pair
        assert cluster_of(kind, tally, pair[1]) == tally.clusters[1]


@given(data=st.data())
@settings(deadline=None)
def test_clusters_do_not_depend_on_order(kind, examples, data) -> None:
    answers: list[str | None] = [*examples.answers, examples.answers[0], None]
    shuffled = data.draw(st.permutations(answers))
    assert clusters(kind, shuffled) == clusters(kind, answers)


@given(data=st.data())
@settings(deadline=None)
def test_a_tally_numbers_clusters_as_they_appear(kind, examples, data) -> None:
    answers = data.draw(st.lists(st.sampled_from([*examples.answers, None]), max_size=12))
    tally = kind.tally(answers)
    assert len(tally) == len(answers)
    assert tally.answers == answers
    assert [cluster is None for cluster in tally.clusters] == [each is None for each in answers]
    voting = [cluster for cluster in tally.clusters if cluster is not None]
    assert list(dict.fromkeys(voting)) == list(range(len(tally.members)))
    assert all(tally.forms)


def test_plainly_equal_answers_have_one_form(kind, examples) -> None:
    for first, second in examples.plain:
        assert kind.tally([first]).forms == kind.tally([second]).forms, (first, second)
    for first, second in examples.different:
        assert kind.tally([first]).forms != kind.tally([second]).forms, (first, second)


@given(data=st.data())
@settings(deadline=None)
def test_an_instant_tally_asks_no_judge(examples, data) -> None:
    asked: list[tuple[str, str]] = []

    def judge(first: str, second: str) -> bool:
        asked.append((first, second))
        return False

    alone, judged = (AnswerKinds(each).of(examples.choice) for each in (None, judge))
    answers = data.draw(st.lists(st.sampled_from([*examples.answers, None]), max_size=6))
    assert alone.instant(answers)
    instant = judged.instant(answers)
    assert not asked
    judged.tally(answers)
    assert not (instant and asked)
