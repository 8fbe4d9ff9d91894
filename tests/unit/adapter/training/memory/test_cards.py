"""Engine and learner on the GPUs of one machine."""

import pytest

from adapter.training.memory.cards import Wishes, plan_cards
from adapter.training.memory.plan import CONTEXT, GIB, DoesNotFit
from tests.unit.adapter.training.memory.test_plan import QWEN_1_5B, QWEN_7B, QWEN_32B

WISHES = Wishes(rank=16, slots=4, longest=4096)


def test_on_one_card_both_fit_beside_each_other() -> None:
    plan = plan_cards(QWEN_1_5B, WISHES, 24 * GIB)
    assert plan.choice.checkpointing
    assert plan.utilization + plan.learner_share == pytest.approx(0.95)
    assert plan.choice.need + CONTEXT <= plan.learner_share * plan.card
    assert plan.engine.total(plan.kv_tokens) <= plan.utilization * plan.card
    assert plan.kv_tokens >= 8 * 4096


def test_a_larger_card_needs_no_checkpointing() -> None:
    assert not plan_cards(QWEN_1_5B, WISHES, 80 * GIB).choice.checkpointing


def test_two_cards_are_one_each() -> None:
    plan = plan_cards(QWEN_7B, WISHES, 24 * GIB, 2)
    assert (plan.engine.shards, plan.learner.shards) == (1, 1)
    assert (plan.utilization, plan.learner_share) == (0.9, 0.95)


def test_a_model_larger_than_a_card_is_spread() -> None:
    plan = plan_cards(QWEN_32B, WISHES, 80 * GIB, 4)
    assert (plan.engine.shards, plan.learner.shards) == (2, 2)


def test_what_does_not_fit_says_what_would() -> None:
    with pytest.raises(DoesNotFit, match=r"2 such GPUs; a GPU of 48 GiB; a model of about 3\.\d"):
        plan_cards(QWEN_7B, WISHES, 24 * GIB)


def test_a_setting_that_stands_in_the_way_is_named() -> None:
    wishes = Wishes(rank=16, slots=4, longest=4096, checkpointing="off", tokens=8192)
    with pytest.raises(DoesNotFit, match="What would do: gradient_checkpointing auto"):
        plan_cards(QWEN_1_5B, wishes, 24 * GIB)
    wishes = Wishes(rank=16, slots=4, longest=4096, utilization=0.94)
    with pytest.raises(DoesNotFit, match="gpu_memory_utilization left to the plan"):
        plan_cards(QWEN_1_5B, wishes, 24 * GIB)
