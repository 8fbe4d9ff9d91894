"""Calls of tools."""

import pytest

from rewards.answers.structured.tool_call_answers import NO_CALL, ToolCallAnswers
from rewards.rollouts import Rollout, ToolCall

KIND = ToolCallAnswers()


def rollout(*calls: tuple[str, str], text: str = "", finish: str = "tool_calls") -> Rollout:
    return Rollout(text, (), (), finish, calls=tuple(ToolCall(*call) for call in calls))


WEATHER = ("weather", '{"city": "Rome", "days": 2}')
TIME = ("time", '{"zone": "CET"}')


def test_names_and_arguments_are_the_answer() -> None:
    answer = KIND.read(rollout(WEATHER))
    assert answer == '[{"arguments":{"city":"Rome","days":2},"name":"weather"}]'
    assert KIND.read(rollout(("weather", ' {"days": 2.0,"city":"Rome"}'))) == answer
    assert KIND.read(rollout(("now", ""))) == '[{"arguments":{},"name":"now"}]'


def test_no_call_is_an_answer_and_nothing_is_none() -> None:
    assert KIND.read(rollout(text="It is sunny.", finish="stop")) == NO_CALL
    assert KIND.read(rollout(finish="stop")) is None


@pytest.mark.parametrize(
    "arguments", ["{", "[1]", "7", "null", '{"a": NaN}', '{"a": 1, "a": 2}', "\ud800", "{" * 5_000]
)
def test_arguments_that_are_no_json_object_are_no_answer(arguments: str) -> None:
    assert KIND.read(rollout(WEATHER, ("f", arguments))) is None


def test_calls_without_end_are_no_answer() -> None:
    assert KIND.read(rollout(*[WEATHER] * 129)) is None
    assert KIND.read(rollout(WEATHER, finish="length")) is None


def test_order_counts_unless_calls_are_parallel() -> None:
    one, other = rollout(WEATHER, TIME), rollout(TIME, WEATHER)
    assert KIND.read(one) == KIND.read(other)
    ordered = ToolCallAnswers(parallel=False)
    first, second = ordered.read(one), ordered.read(other)
    assert first is not None and second is not None
    assert not ordered.same(first, second)
    assert KIND.same(first, second)


def test_calls_and_arguments_that_agree_are_counted() -> None:
    def closeness(one: Rollout, other: Rollout) -> float:
        first, second = KIND.read(one), KIND.read(other)
        assert first is not None and second is not None
        return KIND.closeness(first, second)

    # of the call, its city and its days one differs
    assert closeness(rollout(WEATHER), rollout(("weather", '{"city":"Rome","days":3}'))) == 2 / 3
    # of five leaves the two of the second call are missing
    assert closeness(rollout(WEATHER, TIME), rollout(WEATHER)) == 3 / 5
    assert closeness(rollout(WEATHER), rollout(TIME)) == 0.0
    assert closeness(rollout(WEATHER), rollout(text="No.", finish="stop")) == 0.0


def test_a_name_with_a_slash_is_one_step() -> None:
    answer = KIND.read(rollout(("a/b", '{"c": 1}')))
    assert answer is not None
    assert KIND.fields(answer) == {"/a~1b/0": "called", "/a~1b/0/c": "1"}
