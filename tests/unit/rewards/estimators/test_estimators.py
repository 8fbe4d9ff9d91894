"""What holds for every estimator."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.advantages import grpo
from rewards.answers.math_answers import MathAnswers
from rewards.estimators.dare import Dare
from rewards.estimators.evidence import Evidence
from rewards.estimators.majority import Majority, SoftMajority
from rewards.estimators.registry import ESTIMATORS, build, options_of
from rewards.looks import Look
from tests.unit.rewards.tallies import evidence

WORDS = "".join(f"w{number} " for number in range(40))
LOOKS = [Look(False, 0.4), Look(True, 0.7), *[Look(False, 0.8)] * 4, Look(True, 0.9, 0.5)]
SIGNALS = ("entropies", "topk_entropies", "confidences", "self_certainties")
OUTSIDE = ("truth", "paraphrase", "texts", "looks", "reflection")
answers = st.lists(st.sampled_from(["1", "2", "0.5", "1/2", None]), min_size=1, max_size=16)


def given_evidence(rows, values) -> Evidence:
    signals = dict.fromkeys(SIGNALS, values)
    signals["reference_probabilities"] = signals["noise"] = [value / 12 for value in values]
    return evidence(
        rows,
        truth="2",
        paraphrase="1",
        chosen="1",
        texts=[WORDS[: 1 + int(9 * value)] for value in values],
        looks=LOOKS,
        **signals,
    )


@st.composite
def groups(draw) -> tuple[list[str | None], list[float]]:
    rows = draw(answers)
    size = len(rows)
    return rows, draw(st.lists(st.floats(0, 11.9), min_size=size, max_size=size))


@pytest.mark.parametrize("name", ESTIMATORS)
@given(group=groups())
def test_rewards_are_finite_bounded_and_never_for_silence(name, group) -> None:
    rows, values = group
    estimate = build(name).estimate(given_evidence(rows, values))
    assert len(estimate.rewards) == len(rows)
    for answer, reward in zip(rows, estimate.rewards, strict=True):
        assert math.isfinite(reward)
        assert -3 <= reward <= 12
        assert answer is not None or reward <= 0
    assert set(estimate.kept) <= set(range(len(rows)))
    assert all(math.isfinite(value) for value in estimate.stats.values())
    assert not estimate.informative or any(rows)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(group=groups(), random=st.randoms())
def test_rewards_follow_their_rollouts_when_these_are_shuffled(name, group, random) -> None:
    rows, values = group
    sizes = [rows.count("1"), rows.count("2"), rows.count("0.5") + rows.count("1/2")]
    if sizes.count(max(sizes)) > 1 or len(set(values)) < len(values):
        return  # a tie goes to the first, by definition
    order = random.sample(range(len(rows)), len(rows))
    straight = build(name).estimate(given_evidence(rows, values)).rewards
    shuffled = build(name).estimate(
        given_evidence([rows[i] for i in order], [values[i] for i in order])
    )
    assert shuffled.rewards == pytest.approx([straight[i] for i in order], abs=1e-6)


@given(answers)
def test_soft_majority_is_dare_at_equal_entropy_without_bonus(rows) -> None:
    dare = Dare(alpha=0, tau=0).estimate(evidence(rows, entropies=[0.4] * len(rows)))
    soft = SoftMajority().estimate(evidence(rows))
    expected = grpo([soft.rewards], [])[0]
    assert grpo([dare.rewards], [])[0] == pytest.approx(expected, abs=1e-4)


@given(groups())
def test_dare_is_majority_when_pruning_leaves_one_answer(group) -> None:
    rows, values = group
    dare = Dare(tau=0.5001, alpha=1).estimate(evidence(rows, entropies=values))
    if dare.label is None:
        return
    winners = [row for row in rows if row is not None and MathAnswers().same(row, dare.label)]
    if 2 * len(winners) > len([row for row in rows if row is not None]):
        assert list(dare.rewards) == Majority().estimate(evidence(rows)).rewards


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_it_needs_is_what_it_misses(name: str) -> None:
    estimator = build(name)
    bare = evidence(["1", "2"])
    if not estimator.needs:
        estimator.estimate(bare)
        return
    (need,) = estimator.needs
    with pytest.raises(ValueError, match=need):
        estimator.estimate(bare)
    full = given_evidence(["1", "2"], [0.1, 0.2])
    only = {need: full.signals[need]} if need in full.signals else {}
    outside = {name: getattr(full, name) for name in OUTSIDE}
    estimator.estimate(
        replace(bare, signals=only, **{k: v for k, v in outside.items() if k == need})
    )


def test_options_are_read_from_text() -> None:
    dare = build(
        "dare", options_of(["alpha=0.5", " tau = none ", "pruned=drop", "", "entropy=topk"])
    )
    assert dare == Dare(alpha=0.5, pruned="drop", entropy="topk")
    assert build("dare", {"tau": "0.25"}) == Dare(tau=0.25)
    assert options_of(["a=b=c"]) == {"a": "b=c"}


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("ttrl", {}, "unknown reward 'ttrl'; there are majority, dare,"),
        ("majority", {"alpha": "1"}, "majority has no option 'alpha'; it has soft"),
        ("dare", {"aplha": "1"}, "dare has no option 'aplha'; it has eps, alpha"),
        ("dare", {"alpha": "1.5"}, "dare: alpha: Input should be less than or equal to 1"),
        ("dare", {"eps": "-1"}, "dare: eps: .* greater than or equal to 0"),
        ("dare", {"tau": "2"}, "dare: tau: .* less than or equal to 1"),
        ("dare", {"alpha": "much"}, "dare: alpha: .* valid number"),
        ("dare", {"alpha": "nan"}, "dare: alpha"),
        ("dare", {"uncertainty": "log"}, "dare: uncertainty: .* 'clip', 'raw', 'exp' or 'vocab'"),
        ("dare", {"vocab_size": "1"}, "dare: vocab_size: .* greater than 1"),
        ("scrl", {"consensus": "-0.1"}, "scrl: consensus"),
        ("restrain", {"sigma": "0"}, "restrain: sigma"),
        ("confidence_majority", {"keep": "0"}, "confidence_majority: keep"),
        ("evol_rl", {"mean_weight": "2"}, "evol_rl: mean_weight"),
        ("evol_rl", {"band": "-0.1"}, "evol_rl: band"),
        ("ttrl_guard", {"window": "0"}, "ttrl_guard: window"),
        ("ttrl_guard", {"window": "65"}, "ttrl_guard: window: .* less than or equal to 64"),
        ("ttrl_guard", {"flip_rate": "0"}, "ttrl_guard: flip_rate"),
        ("ttrl_guard", {"skip": "1.1"}, "ttrl_guard: skip"),
        ("sr_ttrl", {"unread": "best"}, "sr_ttrl: unread: .* 'none' or 'majority'"),
        ("random", {"share": "1.5"}, "random: share"),
        ("random", {"seed": "a"}, "random: seed"),
    ],
)
def test_wrong_options_are_named(name, options, why) -> None:
    with pytest.raises(ValueError, match=why):
        build(name, options)


def test_an_option_is_key_and_value() -> None:
    with pytest.raises(ValueError, match="'alpha' is not key=value"):
        options_of(["alpha"])
