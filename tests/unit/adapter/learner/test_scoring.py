"""From groups to advantages, with a trainer that says it is equally unsure of everything."""

from dataclasses import replace

import pytest

from adapter.learner.scoring import Scoring
from adapter.settings import AdapterSettings
from adapter.trainer import TRAFFIC_EVIDENCE
from adapter.training.scripted_trainer import ScriptedTrainer
from ratchet.errors import ConfigurationError
from ratchet.settings import read
from rewards.advantages import ADVANTAGES, grpo, reinforce_pp
from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.evidence import MissingEvidence
from rewards.estimators.registry import ESTIMATORS, build
from rewards.rollouts import Reflection, Rollout, RolloutGroup, Sampling


def group(answers: str, tokens: int = 1) -> RolloutGroup:
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5] * tokens, [-0.5] * tokens, "stop") for a in answers]
    return RolloutGroup(answers, "p", [1], rollouts, 0, Sampling(), "c", 0.0)


def scoring(reward: str, options=None, advantage=grpo, **given) -> Scoring:
    return Scoring(
        estimator=build(reward, options), advantage=advantage, kinds=AnswerKinds(), **given
    )


def test_majority_asks_the_trainer_for_nothing() -> None:
    class Silent(ScriptedTrainer):
        def signals(self, group, names):
            raise AssertionError("not needed")

    scored = scoring("majority").score(group("112"), Silent())
    assert scored.estimate.rewards == [1, 1, 0]


def test_dare_uses_the_trainers_entropies() -> None:
    scored = scoring("dare", {"tau": "0.4"}).score(group("112"), ScriptedTrainer())
    assert scored.estimate.label == "1"
    assert scored.estimate.rewards == pytest.approx([1, 1, 0])


def test_rollouts_left_out_have_no_advantage() -> None:
    made = scoring("dare", {"pruned": "drop", "tau": "0.2"})
    scored = made.score(group("1111112234"), ScriptedTrainer())
    (training,) = made.advantages([scored])
    assert training.advantages[8:] == [None, None]
    assert None not in training.advantages[:8]


def test_a_batch_is_whitened_over_its_tokens() -> None:
    made = scoring("majority", advantage=reinforce_pp, clip=1.0)
    batch = [made.score(g, ScriptedTrainer()) for g in (group("12", 3), group("11"))]
    first, second = made.advantages(batch)
    # eight tokens: 1 x3, 0 x3, 1, 1; mean .625, variance 1.875/7
    assert first.advantages == pytest.approx([0.724568, -1.0], abs=1e-6)
    assert second.advantages == pytest.approx([0.724568] * 2, abs=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_live_traffic_takes_what_its_trainer_can_measure(name: str) -> None:
    if build(name).needs <= TRAFFIC_EVIDENCE:
        assert read(AdapterSettings, {"reward": name}, {}).estimator() == build(name)
        return
    with pytest.raises(ConfigurationError, match=f"reward {name} needs .* live traffic does not"):
        read(AdapterSettings, {"reward": name}, {})


def test_labels_never_train() -> None:
    assert not TRAFFIC_EVIDENCE & {"truth", "paraphrase", "noise"}
    with pytest.raises(ConfigurationError, match="ground_truth needs truth"):
        read(AdapterSettings, {"reward": "ground_truth"}, {})


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"reward": "ttrl"}, "unknown reward 'ttrl'"),
        ({"reward": "dare", "reward_options": "alpha=2"}, "dare: alpha"),
        ({"reward": "dare", "reward_options": "alpha"}, "'alpha' is not key=value"),
        ({"advantage": "gae"}, "advantage"),
    ],
)
def test_wrong_recipes_are_refused_by_name(flags, why) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read(AdapterSettings, flags, {})


def test_the_recipe_as_text() -> None:
    made = read(
        AdapterSettings,
        {"reward": "dare", "reward_options": "alpha=0.2, tau=none", "advantage_clip": "none"},
        {"RATCHET_ADVANTAGE": "rloo"},
    )
    assert made.estimator() == build("dare", {"alpha": "0.2"})
    assert (made.advantage, made.advantage_clip) == ("rloo", None)
    assert set(ADVANTAGES) >= {made.advantage}


def test_recorded_entropies_cost_the_trainer_nothing() -> None:
    """A x 2 (H .4), B x 1 (H .2), tau 0: DARE's rewards, worked out by hand."""
    scoring = Scoring(
        estimator=build("dare", {"entropy": "topk", "tau": "0"}),
        advantage=grpo,
        kinds=AnswerKinds(),
    )
    rollouts = [
        Rollout(rf"\boxed{{{answer}}}", [5], [-0.5], "stop", entropy=entropy)
        for answer, entropy in (("1", 0.4), ("1", 0.4), ("2", 0.2))
    ]
    group = RolloutGroup("g", "p", [1], rollouts, 0, Sampling(), "c", 0.0)

    class Idle(ScriptedTrainer):
        def signals(self, group, names):
            raise AssertionError("the trainer was asked")

    rewards = scoring.score(group, Idle()).estimate.rewards
    weights = 2 / (0.4 + 0.05), 1 / (0.2 + 0.05)
    first = weights[0] / sum(weights) + 0.1 * (1 - 2 / 3) * (1 - 0.4)
    assert rewards[0] == rewards[1] == pytest.approx(first)


def test_a_group_without_entropies_is_refused_with_the_setting_to_change() -> None:
    scoring = Scoring(
        estimator=build("dare", {"entropy": "topk"}), advantage=grpo, kinds=AnswerKinds()
    )
    rollouts = [Rollout(r"\boxed{1}", [5], [-0.5], "stop")] * 2
    group = RolloutGroup("g", "p", [1], rollouts, 0, Sampling(), "c", 0.0)
    with pytest.raises(MissingEvidence, match="record_top_logprobs"):
        scoring.score(group, ScriptedTrainer())


WEATHER = ['{"city":"Rome","days":3}', '{"city":"Rome","days":4}', '{"city":"Oslo","days":3}']


def answering(kind: str, *texts: str) -> RolloutGroup:
    rollouts = [Rollout(text, [5], [-0.5], "stop") for text in texts]
    return RolloutGroup(
        kind, "p", [1], rollouts, 0, Sampling(), "c", 0.0, answer=AnswerChoice(kind)
    )


def test_soft_rewards_are_shares_of_fields() -> None:
    made = scoring("majority", {"soft": "true"})
    assert made.score(answering("json", *WEATHER), ScriptedTrainer()).estimate.rewards == [
        1.0, 0.5, 0.5,
    ]  # fmt: skip
    assert made.score(group("112"), ScriptedTrainer()).estimate.rewards == [1.0, 1.0, 0.0]
    prose = answering("text", "a b c d", "a b c d", "a b x y")
    near = made.score(prose, ScriptedTrainer()).estimate.rewards
    assert near == pytest.approx([0.75, 0.75, 0.5])


def test_a_group_is_read_by_the_choice_that_it_carries() -> None:
    made = scoring("majority")
    spoken = ["Tokyo", "Tokyo.", "Kyoto"]
    assert made.score(answering("auto", *spoken), ScriptedTrainer()).kind == "short"
    mathematics = made.score(answering("math", *spoken), ScriptedTrainer())
    assert (mathematics.estimate.label, mathematics.kind) == (None, "math")


def test_kinds_do_not_share_a_standardisation() -> None:
    made = scoring("majority", {"soft": "true"}, advantage=reinforce_pp)
    alone = [made.score(answering("json", *WEATHER), ScriptedTrainer())]
    other = made.score(answering("short", "Rome", "Rome", "Oslo", "Bern"), ScriptedTrainer())
    first, second, third = made.advantages([*alone, other, *alone])
    # Rewards of .5 vary less than those of 1: whitened with the others, they would come out less.
    [by_itself, _] = made.advantages([*alone, *alone])
    assert first.advantages == third.advantages == by_itself.advantages
    assert second.advantages == made.advantages([other])[0].advantages


def test_the_texts_of_a_group_are_compared() -> None:
    texts = [r"add \boxed{1}", r"add \boxed{1}", r"count up \boxed{1}"]
    scored = scoring("evol_rl").score(answering("math", *texts), ScriptedTrainer())
    assert scored.estimate.rewards == [0.5, 0.5, 1.0]


def test_a_learner_remembers_the_votes_on_a_question() -> None:
    made = scoring("ttrl_guard")
    scales = [
        made.score(group(answers), ScriptedTrainer()).estimate.scale
        for answers in ("112", "1112", "2221", "2221")  # of another id each, but for the last two
    ]
    assert scales == pytest.approx([1, 1, 0.35, 0.35])
    assert scoring("ttrl_guard").score(group("1112"), ScriptedTrainer()).estimate.scale == 1


def test_rewards_for_no_reason_are_for_experiments() -> None:
    with pytest.raises(ConfigurationError, match="reward random needs noise"):
        read(AdapterSettings, {"reward": "random"}, {})


def test_what_the_model_chose_is_the_label() -> None:
    made = scoring("sr_ttrl")

    def label(reflection: Reflection | None, answers: str = "1122") -> str | None:
        given = replace(group(answers), reflection=reflection)
        return made.score(given, ScriptedTrainer()).estimate.label

    assert label(Reflection("2.0")) == "2.0"
    assert label(Reflection(None)) is None
    assert label(None) is None
    assert label(None, "111") == "1"
