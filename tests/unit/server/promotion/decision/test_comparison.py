"""Candidate against reference on one query, by hand."""

import itertools
import random
from collections.abc import Sequence

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import MathAnswers
from server.promotion.decision.comparison import (
    UNHEARD,
    by_reference,
    labelled,
    nearer,
    novel,
    pooled,
)


def difference(ours: Sequence[str | None], theirs: Sequence[str | None]) -> float:
    """Answers of one letter, each a cluster of its own."""
    clusters = MathAnswers().tally([*ours, *theirs]).clusters
    return pooled(clusters[: len(ours)], clusters[len(ours) :])


def test_by_hand_without_label() -> None:
    # Together 7 x7 and 3 x1: each 7 has six others against one, the 3 loses: 1 1 1 1 to 1 1 1 0.
    assert difference(["7"] * 4, ["7", "7", "7", "3"]) == 0.25
    # Together 3 x5 and 7 x3: the candidate wins the pooled vote, four to one.
    assert difference(["3"] * 4, ["7", "7", "7", "3"]) == 0.75


def test_a_wrong_consensus_that_is_mended_counts_for_the_candidate() -> None:
    assert pooled([1, 1, 1, 1], [2, 2, 2, 1]) == 0.75
    assert by_reference([1, 1, 1, 1], [2, 2, 2, 1]) == -0.75


def test_a_novel_answer_is_agreed_on_and_was_never_given() -> None:
    assert novel([3, 3, 3, 1], [0, 0, 1, 2])
    assert not novel([3, 3, 0, 1], [0, 0, 1, 2])  # two are no agreement
    assert not novel([3, 3, 3, 0, 0, 0, 0, 0], [0] * 8)
    assert not novel([2, 2, 2, 2], [0, 0, 1, 2])
    assert not novel([None] * 4, [0, 0, 1, 2])


def test_a_tie_counts_by_shares() -> None:
    # 1 x2 and 2 x3: a 2 left out leaves two against two and scores 1/2; a 1 left out has lost.
    assert pooled([1, 2], [1, 2, 2]) == pytest.approx(0.5 * (1 / 2 - 2 / 3))


def test_by_hand_with_a_label() -> None:
    assert labelled([3, 3], [7, 3], 3) == 0.5
    assert labelled([3, 3], [7, 3], UNHEARD) == 0.0
    assert labelled([None, None], [None, 0], UNHEARD) == 0.0  # no answer is not an unheard one


def test_a_policy_against_itself_is_even_however_it_answers() -> None:
    for answers in itertools.product(["1", "2", None], repeat=4):
        assert difference(answers, answers) == 0.0
    for answers in itertools.product([1, 2, None], repeat=4):
        assert by_reference(answers, answers) == 0.0


def test_equal_policies_have_equal_expectations() -> None:
    """All pairs of three rollouts from one distribution over {1, 2, none}, weighted."""
    share = {1: 0.5, 2: 0.3, None: 0.2}
    both, own = 0.0, 0.0
    for rows in itertools.product(share, repeat=6):
        weight = 1.0
        for row in rows:
            weight *= share[row]
        both += weight * pooled(rows[:3], rows[3:])
        own += weight * by_reference(rows[:3], rows[3:])
    assert both == pytest.approx(0.0, abs=1e-12)
    assert own == pytest.approx(0.0, abs=1e-12)


def test_the_quick_count_is_the_definition() -> None:
    """Against leaving each rollout out by hand, on random draws."""

    def slow(ours: list[int | None], theirs: list[int | None]) -> float:
        def score(left_out: int) -> float:
            everyone = [*ours, *theirs]
            own = everyone.pop(left_out)
            votes = [everyone.count(c) for c in {c for c in everyone if c is not None}]
            if own is None or own not in everyone or everyone.count(own) < max(votes):
                return 0.0
            return 1 / votes.count(max(votes))

        count = len(ours)
        mine = sum(score(i) for i in range(count)) / count
        return mine - sum(score(count + i) for i in range(len(theirs))) / len(theirs)

    noise = random.Random(1)
    for _ in range(500):
        rows = [[noise.choice([None, 0, 1, 2]) for _ in range(4)] for _ in range(2)]
        assert pooled(*rows) == pytest.approx(slow(*rows))


def test_silence_never_scores() -> None:
    assert difference([None, None], [None, None]) == 0.0
    assert difference([None, None], ["1", "1"]) == -1.0
    assert difference(["1", "1"], [None, None]) == 1.0
    assert by_reference([1, 1], [None, None]) == 0.0


def test_prose_is_judged_by_how_close_it_comes() -> None:
    prose = AnswerKinds().of(AnswerChoice("text"))
    reference = ["a b c d", "a b c d", None]
    assert nearer(prose, reference, reference) == 0.0
    # Each loses half to one other rollout; the third rollout, which is none, loses nothing to two.
    assert nearer(prose, ["a b x y", "a b x y", None], reference) == pytest.approx(-0.25)
    assert nearer(prose, ["a b x y", None, "a b c d"], ["a b c d", None, None]) == 0.5
    assert nearer(prose, [None, None], [None, None]) == 0.0
