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
    novelty,
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


def test_a_novel_answer_is_agreed_on_and_unlikely_to_have_been_missed() -> None:
    assert novelty([3, 3, 3, 1], [0, 0, 0, 0]) == 1
    assert novelty([3, 3, 3, 1], [0, 0, 1, 2]) == 0.5  # half of what it says may be anything else
    assert novelty([3, 3, 3, 1], [0, 0, 1, None]) == pytest.approx(2 / 3)
    assert novelty([3, 3, 3, 1], [0, 1, 2, 4]) == 0
    assert novelty([3, 3, 3, 1], [None] * 4) == 0  # nothing is known of what it would say
    assert novelty([3, 3, 0, 1], [0, 0, 0, 0]) == 0  # two are no agreement
    assert novelty([3, 3, 3, 0, 0, 0, 0, 0], [0] * 8) == 0
    assert novelty([2, 2, 2, 2], [0, 0, 0, 2]) == 0
    assert novelty([None] * 4, [0, 0, 0, 0]) == 0


def test_what_a_scattered_reference_missed_by_chance_is_hardly_novel() -> None:
    """It has the answer in a quarter of its rollouts, and eight others: four rollouts miss it on a
    third of the queries. A reference that is sure in seven of ten never has what damage teaches."""
    noise = random.Random(0)

    def found(right: float, told: int) -> list[float]:
        rows = [
            [0 if noise.random() < right else noise.randint(1, 8) for _ in range(4)]
            for _ in range(2000)
        ]
        return [novelty([told] * 4, row) for row in rows if told not in row]

    learnt, damaged = found(0.25, 0), found(0.7, 9)
    assert 0.25 < len(learnt) / 2000 < 0.4
    assert sum(learnt) / 2000 < 0.13
    assert sum(damaged) / 2000 > 0.65


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
