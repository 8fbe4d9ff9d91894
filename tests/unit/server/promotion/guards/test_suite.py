"""The guard suite that ships: large enough, and every task can be done and read."""

from collections import Counter

import pytest

from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import Rollout
from server.promotion.guards.suite import PROSE, GuardItem, guard_suite

SUITE = guard_suite()


def said(text: str, reason: str = "stop") -> Rollout:
    return Rollout(text, [1], [-0.1], reason)


def test_there_are_enough_tasks_of_each_area() -> None:
    areas = Counter(item.area for item in SUITE)
    assert set(areas) == {"format", "letters", "json", "instruction", "facts", PROSE}
    assert areas.total() - areas[PROSE] >= 120
    assert min(areas.values()) >= 12
    assert len({item.id for item in SUITE}) == len({item.question for item in SUITE}) == len(SUITE)


@pytest.mark.parametrize("item", SUITE, ids=lambda item: item.id)
def test_its_answer_is_right_and_another_is_not(item: GuardItem) -> None:
    kinds = AnswerKinds()
    if item.area == PROSE:
        assert item.answer is None and not item.right(kinds, said("some text"))
        return
    assert item.answer is not None
    assert item.right(kinds, said(item.answer))
    assert not item.right(kinds, said(item.answer, "length"))  # cut off
    for wrong in ("I do not know.", "xyzzy xyzzy", '{"no": "idea"}', item.question):
        assert not item.right(kinds, said(wrong)), wrong


def test_letters_are_spread_and_options_do_not_give_themselves_away() -> None:
    letters = Counter(item.answer for item in SUITE if item.area == "letters")
    assert set(letters) == set("ABCD") and max(letters.values()) <= 10


def test_json_may_be_fenced_and_in_any_order() -> None:
    item = next(item for item in SUITE if item.answer == '{"city":"Rome","country":"Italy"}')
    reply = '```json\n{"country": "Italy", "city": "Rome"}\n```'
    assert item.right(AnswerKinds(), said(reply))
    assert not item.right(AnswerKinds(), said("{city: Rome, country: Italy}"))
