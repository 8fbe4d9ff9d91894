"""The older form of tool calls."""

from server.api.functions import in_older_form

CALLS = [
    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    {"id": "b", "type": "function", "function": {"name": "time", "arguments": "[]"}},
]


def test_a_whole_choice_has_its_first_call() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    assert in_older_form(choice) == {
        "index": 0,
        "message": {"role": "assistant", "content": None, "function_call": CALLS[0]["function"]},
        "finish_reason": "function_call",
    }


def test_pieces_of_the_first_call_are_kept_and_the_others_dropped() -> None:
    pieces = [{"index": 0, "id": "a", "function": {"name": "weather"}},
              {"index": 0, "function": {"arguments": "{"}},
              {"index": 1, "function": {"arguments": "["}}]  # fmt: skip
    choice = {"index": 0, "delta": {"tool_calls": pieces}, "finish_reason": None}
    older = in_older_form(choice)
    assert older["delta"] == {"function_call": {"name": "weather", "arguments": "{"}}
    later = in_older_form({"index": 0, "delta": {"tool_calls": pieces[2:]}, "finish_reason": None})
    assert later["delta"] == {}


def test_a_text_stays_as_it_is() -> None:
    for choice in ({"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"},
                   {"index": 0, "text": "hi", "finish_reason": "length"}):  # fmt: skip
        assert in_older_form(choice) == choice
