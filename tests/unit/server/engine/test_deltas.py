"""Messages put together from deltas, tool calls included."""

from typing import Any

import pytest

from rewards.rollouts import ToolCall
from server.engine.base import EngineReplyInvalid
from server.engine.deltas import calls_in, message_of, reasoning_tokens
from server.engine.vllm_replies import RolloutAssembly
from tests.unit.server.engine.test_vllm_replies import ROLE, chunk


def piece(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "function": function}


NAMED = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather"}}
SECOND = {"index": 1, "id": "call_b", "type": "function", "function": {"name": "time"}}


def test_pieces_of_a_call_become_one_whoever_comes_first() -> None:
    # As vLLM 0.32's Hermes parser has them: name and arguments apart within one chunk.
    deltas = [
        {"role": "assistant", "content": "Let me "},
        {"content": "see."},
        {"tool_calls": [NAMED, piece(0, arguments='{"city": ')]},
        {"tool_calls": [piece(0, arguments='"Rome"}'), SECOND]},
        {"tool_calls": [piece(1, arguments="{}")], "content": None},
        {},
    ]
    message = message_of(deltas)
    assert message["content"] == "Let me see."
    assert message["tool_calls"] == [
        {"id": "call_a", "type": "function",
         "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]  # fmt: skip
    assert calls_in(message) == (ToolCall("weather", '{"city": "Rome"}'), ToolCall("time", "{}"))


def test_calls_alone_leave_no_content() -> None:
    message = message_of([{"role": "assistant"}, {"tool_calls": [NAMED]}, {"tool_calls": None}])
    assert message["content"] is None
    assert calls_in(message) == (ToolCall("weather", ""),)
    assert calls_in(message_of([{"content": "4"}])) == ()


@pytest.mark.parametrize(
    ("delta", "tokens"),
    [
        ({"reasoning": "hm"}, 12.0),
        ({"reasoning_content": "hm", "content": None}, 12.0),
        ({"reasoning": "hmhm", "content": "46"}, 8.0),  # four characters of six
        ({"reasoning": "h", "tool_calls": [piece(0, arguments="{}"), {"index": 1}]}, 4.0),
        ({"content": "46"}, 0.0),
        ({"reasoning": "", "content": ""}, 0.0),
    ],
)
def test_tokens_of_reasoning_by_its_share_of_what_comes_at_once(
    delta: dict[str, Any], tokens: float
) -> None:
    assert reasoning_tokens(delta, 12) == tokens


def test_a_rollout_knows_its_tokens_of_reasoning() -> None:
    thought, said, ended = (chunk(0, "", [n]) for n in (1, 2, 3))
    thought["choices"][0]["delta"] = {"reasoning": "hm"}
    said["choices"][0]["delta"] = {"reasoning": "a", "content": "b"}
    ended["choices"][0] |= {"delta": {"content": "c"}, "finish_reason": "stop"}
    [draw] = RolloutAssembly(1).add([ROLE, thought, said, ended])
    assert draw.reasoning_tokens == 2  # 1 and a half


def test_a_rollout_has_its_calls_and_every_token() -> None:
    assembly = RolloutAssembly(1)
    thought, called, ended = (chunk(0, "", [n]) for n in (1, 2, 3))
    thought["choices"][0]["delta"] = {"reasoning": "hm"}
    called["choices"][0]["delta"] = {"tool_calls": [NAMED]}
    written = {"tool_calls": [piece(0, arguments='{"city": "Rome"}')]}
    ended["choices"][0] |= {"delta": written, "finish_reason": "tool_calls"}
    [draw] = assembly.add([ROLE, thought, called, ended])
    rollout = draw.rollout
    assert (list(rollout.token_ids), list(rollout.logprobs)) == ([1, 2, 3], [-1.0, -2.0, -3.0])
    assert rollout.calls == (ToolCall("weather", '{"city": "Rome"}'),)
    assert (rollout.text, rollout.finish_reason) == ("", "tool_calls")
    assert draw.choice["message"]["reasoning"] == "hm"
    assert draw.choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "calls",
    [
        [{}],
        [{"index": "x"}],
        [{"index": 0, "function": {"arguments": 5}}],
        [{"index": 0, "function": {"name": ["weather"]}}],
        [{"index": 0, "function": "weather"}],
        ["weather"],
        5,
    ],
)
def test_calls_that_make_no_sense_are_refused(calls: Any) -> None:
    end = chunk(0, "", [1], finish_reason="tool_calls")
    end["choices"][0]["delta"] = {"tool_calls": calls}
    with pytest.raises(EngineReplyInvalid, match="malformed"):
        RolloutAssembly(1).add([ROLE, end])
