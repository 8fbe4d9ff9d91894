"""Newer rewards by hand: EVOL-RL, TTRL-Guard, SR-TTRL, and the random control."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.advantages import advantages_of, dr_grpo
from rewards.answers.medoid import text_closeness
from rewards.estimators.estimate import Estimate
from rewards.estimators.evidence import MissingEvidence
from rewards.estimators.evol_rl import EvolRl
from rewards.estimators.random_reward import RandomReward
from rewards.estimators.sr_ttrl import SrTtrl
from rewards.estimators.ttrl_guard import TtrlGuard
from rewards.looks import Look
from tests.unit.rewards.tallies import evidence

STEADY, FLIP = Look(False, 0.8), Look(True, 0.5)


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-6)


def evol(answers, texts, **options) -> Estimate:
    return EvolRl(**options).estimate(evidence(answers, texts=texts))


def test_novelty_within_the_majority_and_within_the_rest() -> None:
    """Closeness by hand: ab-ab 1, ab-ac 1/2, ac-ad 1/2, ab-ad 1/2, xy-xz 1/2, all others 0."""
    texts = ["a b", "a b", "a c", "x y", "x z", "x y"]
    found = evol(["1", "1", "1", "2", "3", "3"], texts)
    # majority: s .75 .75 .5, m 1 1 .5, novelty .125 .125 .5; others: xy and xy s .75 m 1,
    # xz s .5 m .5; "2" and "3" are one side
    assert found.rewards == near(0.5, 0.5, 1.0, -1.0, -0.5, -1.0)
    assert (found.label, list(found.kept)) == ("1", list(range(6)))
    assert found.informative


def test_novelty_in_between_and_its_weights() -> None:
    texts = ["a b", "a b", "a c", "a d e f"]
    # closeness: 1, .5, 1/3 | .5, 1/3 | 1/3; s: 11/18 11/18 8/18 6/18, m: 1 1 .5 1/3
    both = [1 - (11 / 18 + 1) / 2, 1 - (8 / 18 + 0.5) / 2, 1 - 1 / 3]
    between = (both[1] - both[0]) / (both[2] - both[0])
    assert evol(["7"] * 4, texts).rewards == near(0.5, 0.5, 0.5 + between / 2, 1.0)
    # by the mean alone: novelty 7/18, 7/18, 10/18, 12/18
    assert evol(["7"] * 4, texts, mean_weight=1).rewards == near(0.5, 0.5, 0.8, 1.0)
    # by the closest alone: 0, 0, 1/2, 2/3
    assert evol(["7"] * 4, texts, mean_weight=0).rewards == near(0.5, 0.5, 0.875, 1.0)
    assert evol(["7"] * 4, texts, mean_weight=1, band=0.2).rewards == near(0.8, 0.8, 0.92, 1.0)
    assert evol(["7"] * 4, texts, band=0).rewards == [1.0] * 4


def test_the_closest_may_be_on_the_other_side() -> None:
    # s 0 in either side; m: "a b" has a twin among the others, "c d" has none
    found = evol(["1", "1", "1", "2", "2"], ["a b", "c d", "e f", "a b", "g h"])
    assert found.rewards == near(0.5, 1.0, 1.0, -1.0, -0.5)


def test_alone_or_alike() -> None:
    assert evol(["1", "1", "2"], ["a", "a", "b"]).rewards == near(0.75, 0.75, -0.5)
    assert evol(["1"], ["a"]).rewards == [1.0]
    assert evol(["1", "1", "2", "3"], ["a", "a", "b", "b"]).rewards == near(
        0.75, 0.75, -0.75, -0.75
    )


def test_silence_is_as_bad_as_can_be_and_has_no_part_in_novelty() -> None:
    found = evol(["1", None, "1", "2"], ["a b", "a b", "c d", "e f"])
    assert found.rewards == near(0.75, -1.0, 0.75, -0.5)
    assert found.stats == {"majority_ratio": 0.5, "answered": 0.75, "distinct": 2.0}
    nobody = evol([None, None], ["a", "b"])
    assert (nobody.rewards, nobody.label, nobody.informative) == ([-1.0, -1.0], None, False)
    assert evol([], []).rewards == []
    with pytest.raises(MissingEvidence, match="texts: 1 for 2 rollouts"):
        evol(["1", "2"], ["a"])


@given(
    st.lists(st.tuples(st.sampled_from("123"), st.text("ab ", max_size=8)), min_size=1, max_size=12)
)
def test_the_majority_is_always_above_the_rest(rows) -> None:
    found = evol([answer for answer, _ in rows], [text for _, text in rows])
    for (answer, _), reward in zip(rows, found.rewards, strict=True):
        assert 0.5 <= reward <= 1 if answer == found.label else -1 <= reward <= -0.5


def test_closeness_is_that_of_the_answer_kind_text() -> None:
    assert text_closeness("a b", "a c") == 0.5
    assert text_closeness("a b", "a d e f") == pytest.approx(1 / 3)


def guard(answers, looks, **options) -> Estimate:
    return TtrlGuard(**options).estimate(evidence(answers, looks=looks))


VOTES = ["A"] * 4 + ["B"] * 3 + ["C"]


def test_a_question_seen_once_is_ttrl() -> None:
    for looks in ([Look(False, 0.5)], []):
        found = guard(VOTES, looks)
        assert found.rewards == [1, 1, 1, 1, 0, 0, 0, 0]
        assert (found.scale, set(found.lifts), list(found.kept)) == (1, {0}, list(range(8)))
        assert found.stats == {
            "majority_ratio": 0.5, "answered": 1.0, "distinct": 3.0,
            "flip_rate": 0.0, "scale": 1.0, "skipped": 0.0,
        }  # fmt: skip


def test_a_flip_halves_the_advantages() -> None:
    assert guard(VOTES, [STEADY, FLIP]).scale == 0.5
    assert guard(VOTES, [STEADY, FLIP, STEADY]).scale == 1.0
    assert guard(VOTES, [STEADY, FLIP], flip_weight=0.2).scale == pytest.approx(0.8)
    assert guard(VOTES, [FLIP, Look(False, 0.5)], flip_window=2).scale == pytest.approx(0.75)
    assert guard(VOTES, [STEADY, FLIP], flip_weight=1).scale == 0.1


def test_a_sure_majority_that_flips_contradicts_itself() -> None:
    assert guard(VOTES, [STEADY, Look(True, 0.7)]).scale == pytest.approx(0.5 * 0.7)
    assert guard(VOTES, [STEADY, Look(True, 0.6)]).scale == 0.5  # not more than `confident`
    assert guard(VOTES, [STEADY, Look(True, 0.7)], flip_rate=1).scale == 0.5
    weak = Look(False, 0.5)
    assert guard(VOTES, [STEADY, weak, Look(True, 0.7)]).scale == pytest.approx(0.35)
    assert guard(VOTES, [STEADY, Look(True, 0.7)], doubt=0.5).scale == pytest.approx(0.25)


def test_what_never_flipped_counts_less_for_a_while() -> None:
    assert guard(VOTES, [STEADY] * 4).scale == 1.0
    for looks in range(5, 10):
        assert guard(VOTES, [STEADY] * looks).scale == pytest.approx(0.85)
    assert guard(VOTES, [STEADY] * 10).scale == 1.0
    assert guard(VOTES, [Look(False, 0.6)] * 5).scale == 1.0
    assert guard(VOTES, [FLIP, *[STEADY] * 5]).scale == 1.0
    low = Look(False, 0.1)
    assert guard(VOTES, [low, *[STEADY] * 5]).scale == pytest.approx(0.85)
    assert guard(VOTES, [STEADY] * 2, window=2).scale == pytest.approx(0.85)
    assert guard(VOTES, [STEADY], window=1).scale == pytest.approx(0.85)
    assert guard(VOTES, [STEADY] * 2, window=1).scale == 1.0


def test_minorities_gain_by_their_votes_when_the_majority_flips() -> None:
    found = guard(["A"] * 4 + ["B"] * 3 + ["C"] * 2 + [None], [STEADY, FLIP], minority=0.2)
    # b .3 shared 3 : 2
    assert found.lifts == near(*[0] * 4, *[0.18] * 3, *[0.12] * 2, 0)
    assert guard(VOTES, [STEADY, FLIP]).lifts == near(*[0] * 4, *[0.3] * 3, 0)  # C: 1 of 8
    assert guard(VOTES, [STEADY, FLIP], minority=0.5).lifts == near(*[0] * 8)
    assert guard(VOTES, [STEADY, FLIP], bonus=1).lifts == near(*[0] * 4, *[1] * 3, 0)
    half = guard(VOTES, [*[STEADY] * 9, FLIP], flip_window=10, flip_rate=0.2)
    assert half.lifts == near(*[0] * 4, *[0.15] * 3, 0)
    assert guard(["1", "2"], [STEADY, FLIP], minority=0).lifts == near(0, 0.3)


def test_what_is_done_to_the_advantages() -> None:
    # dr_grpo: +-.5; halved .25; mean absolute .25, so B gains .3 * .25
    found = guard(VOTES, [STEADY, FLIP])
    (row,) = advantages_of([found], [[1] * 8], dr_grpo)
    assert row == near(*[0.25] * 4, *[-0.175] * 3, -0.25)
    left_out = Estimate([1.0, 0.0, 0.0], "1", [0, 1], scale=2.0, lifts=[0.0, 1.0, 9.0], offset=-1)
    # 1 and -1 after the scale; mean absolute 1
    (row,) = advantages_of([left_out], [[1] * 3], dr_grpo)
    assert row == [0.0, -1.0, None]
    (row,) = advantages_of([left_out], [[1] * 3], dr_grpo, clip=0.5)
    assert row == [0.0, -0.5, None]


def test_a_locked_question_is_skipped_by_chance() -> None:
    locked = [FLIP, *[STEADY] * 4]
    skipped = guard(VOTES, [*locked, Look(False, 0.8, 0.69)])
    assert (list(skipped.kept), skipped.label, skipped.informative) == ([], "A", False)
    assert skipped.stats["skipped"] == 1.0
    assert guard(VOTES, [*locked, Look(False, 0.8, 0.7)]).informative
    assert guard(VOTES, [*locked, Look(False, 0.8, 0.69)], skip=0.5).informative
    assert guard(VOTES, [STEADY] * 6).informative  # never flipped: not locked, but sure
    assert guard(VOTES, [FLIP, *[STEADY] * 3]).informative  # four looks are too few
    assert guard(VOTES, [FLIP, *[Look(False, 0.5)] * 5]).informative
    assert not guard(VOTES, [FLIP, *[Look(False, 0.5)] * 5], locked=0.4).informative
    assert not guard(VOTES, [FLIP, STEADY], window=2).informative


def test_a_group_that_nobody_answers_teaches_the_guard_nothing() -> None:
    silent = guard([None, None], [FLIP, FLIP])
    assert (silent.rewards, silent.label, silent.informative) == ([0, 0], None, False)
    assert guard([], []).rewards == []


def test_the_models_choice_is_the_label() -> None:
    found = SrTtrl().estimate(evidence(VOTES, chosen="B"))
    assert (found.rewards, found.label) == ([0, 0, 0, 0, 1, 1, 1, 0], "B")
    equal = SrTtrl().estimate(evidence(["1/2", "2", None], chosen="0.5"))
    assert equal.rewards == [1, 0, 0]


def test_a_choice_that_could_not_be_read() -> None:
    none = SrTtrl().estimate(evidence(VOTES, chosen=None))
    assert (none.rewards, none.label, none.informative) == ([0] * 8, None, False)
    vote = SrTtrl(unread="majority").estimate(evidence(VOTES, chosen=None))
    assert (vote.rewards, vote.label) == ([1, 1, 1, 1, 0, 0, 0, 0], "A")
    alone = SrTtrl().estimate(evidence(["A", "A", None], chosen=None))
    assert (alone.rewards, alone.label) == ([1, 1, 0], "A")
    silent = SrTtrl(unread="majority").estimate(evidence([None], chosen=None))
    assert (silent.rewards, silent.label) == ([0], None)
    with pytest.raises(MissingEvidence, match="reflection is needed"):
        SrTtrl().estimate(evidence(VOTES))


def random(answers, noise, **options) -> Estimate:
    return RandomReward(**options).estimate(evidence(answers, noise=noise))


def test_random_rewards_depend_on_nothing_but_noise_and_seed() -> None:
    noise = [each / 997 for each in range(400)]
    one, other = random(["1"] * 400, noise), random([str(n) for n in range(400)], noise)
    assert one.rewards == other.rewards
    assert set(one.rewards) == {0.0, 1.0}
    assert 160 <= sum(one.rewards) <= 240  # four standard deviations
    assert (one.label, one.informative) == (None, True)
    again = random(["1"] * 400, noise, seed=1)
    assert 160 <= sum(a == b for a, b in zip(one.rewards, again.rewards, strict=True)) <= 240
    assert 20 <= sum(random(["1"] * 400, noise, share=0.1).rewards) <= 60
    assert sum(random(["1"] * 400, noise, share=1).rewards) == 400
    assert sum(random(["1"] * 400, noise, share=0).rewards) == 0


def test_random_rewards_do_not_teach_to_answer() -> None:
    found = random(["1", None, "2"], [0.1, 0.2, 0.3], share=1)
    assert (found.rewards, found.kept) == ([1.0, 0.0, 1.0], [0, 2])
    assert found.stats == {"majority_ratio": 1 / 3, "answered": 2 / 3, "distinct": 2.0}
    assert not found.informative
