"""A chat's reply as blocks: whole, and as its stream changes them."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api.surfaces.blocks import Block, BlockStream, Closed, Grown, Kind, Opened, blocks_of


def shown(block: Block) -> tuple[Any, ...]:
    return (block.kind.value, block.at, block.text, block.name)


def changed(stream: BlockStream, *deltas: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What happens to which block, with what is added to it."""
    found: list[tuple[Any, ...]] = []
    changes = [c for delta in deltas for c in stream.add({"delta": delta})]
    for change in [*changes, *stream.end()]:
        match change:
            case Opened():
                found.append(("opened", change.block.at, change.block.kind.value))
            case Grown():
                found.append(("grown", change.block.at, change.text))
            case Closed():
                found.append(("closed", change.block.at))
    return found


def piece(index: int, **function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}


def test_a_whole_message_as_blocks() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"reasoning": "hm", "content": "So:", "tool_calls": [call, call]}
    token = {"token": "So:", "logprob": -0.1}
    found = blocks_of({"message": message, "logprobs": {"content": [token]}})
    assert [shown(block) for block in found] == [
        ("reasoning", 0, "hm", ""), ("text", 1, "So:", ""), ("call", 2, "{}", "f"),
        ("call", 3, "{}", "f"),
    ]  # fmt: skip
    assert (found[1].logprobs, found[2].id) == ([token], "c")


def test_an_empty_message_is_one_empty_text_and_the_older_name_of_reasoning_is_known() -> None:
    assert [shown(b) for b in blocks_of({"message": {"content": None}})] == [("text", 0, "", "")]
    older = {"message": {"content": "", "reasoning_content": "hm"}}
    assert [shown(b) for b in blocks_of(older)] == [("reasoning", 0, "hm", "")]


def test_blocks_follow_one_another() -> None:
    said = changed(
        BlockStream(),
        {"role": "assistant", "content": ""}, {"reasoning": "h"}, {"reasoning": "m"},
        {"content": "4"}, piece(0, name="f"), piece(0, arguments="{"), piece(0, arguments="}"),
    )  # fmt: skip
    assert said == [
        ("opened", 0, "reasoning"), ("grown", 0, "h"), ("grown", 0, "m"), ("closed", 0),
        ("opened", 1, "text"), ("grown", 1, "4"), ("closed", 1),
        ("opened", 2, "call"), ("grown", 2, "{"), ("grown", 2, "}"), ("closed", 2),
    ]  # fmt: skip


def test_a_call_is_told_of_once_its_name_is_known_with_what_it_has_by_then() -> None:
    said = changed(BlockStream(), piece(0, arguments="{"), piece(0, name="f", arguments="}"))
    assert said == [("opened", 0, "call"), ("grown", 0, "{}"), ("closed", 0)]


def test_text_within_a_call_comes_after_it() -> None:
    said = changed(
        BlockStream(), piece(0, name="f", arguments="{"), {"content": "\n"},
        piece(0, arguments="}"), piece(1, name="g", arguments="{}"),
    )  # fmt: skip
    assert said == [
        ("opened", 0, "call"), ("grown", 0, "{"), ("grown", 0, "}"), ("closed", 0),
        ("opened", 1, "text"), ("grown", 1, "\n"), ("closed", 1),
        ("opened", 2, "call"), ("grown", 2, "{}"), ("closed", 2),
    ]  # fmt: skip


def test_an_empty_stream_is_one_empty_text() -> None:
    assert changed(BlockStream(), {}) == [("opened", 0, "text"), ("closed", 0)]


texts = st.text(max_size=4)
pieces = st.fixed_dictionaries(
    {"index": st.integers(0, 3)},
    optional={
        "id": st.none() | texts,
        "function": st.none() | st.fixed_dictionaries({}, optional={
            "name": st.none() | texts, "arguments": st.none() | texts}),
    },
)  # fmt: skip
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | texts, "reasoning": st.none() | texts,
        "reasoning_content": texts, "tool_calls": st.none() | st.lists(pieces, max_size=3),
    },
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a table, made once
@given(st.lists(deltas, max_size=8))
def test_whatever_comes_one_block_is_open_at_a_time_and_all_are_whole_in_the_end(
    written: list[dict[str, Any]],
) -> None:
    stream, text, open_at = BlockStream(), dict[int, str](), None
    changes = [c for delta in written for c in stream.add({"delta": delta})]
    for change in [*changes, *stream.end()]:
        at = change.block.at
        match change:
            case Opened():
                assert (open_at, at) == (None, len(text))
                assert change.block.kind is not Kind.CALL or (change.block.name and change.block.id)
                open_at, text[at] = at, ""
            case Grown():
                assert open_at == at and change.text
                text[at] += change.text
            case Closed():
                assert open_at == at
                open_at = None
    assert (open_at, bool(text)) == (None, True)
    assert [block.text for block in stream.blocks] == [text[at] for at in sorted(text)]
