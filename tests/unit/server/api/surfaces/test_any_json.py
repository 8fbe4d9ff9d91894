"""Whatever is sent is understood or refused with a 400; whatever is drawn is told."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.api.errors import ApiError
from server.api.messages.request import CountTokensRequest, MessagesRequest
from server.api.parsing import parse
from server.api.responses.request import ResponsesRequest
from server.api.surfaces.asked import SurfaceRequest, Translated, asked_by

# The table of characters, which is made once.
SLOW_AT_FIRST = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
texts = st.text(max_size=4)
TYPES = (
    "message", "text", "input_text", "reasoning", "function", "function_call", "tool_result",
    "tool_use", "thinking", "document", "function_call_output", "custom", "auto", "json_schema",
    "allowed_tools", "redacted_thinking", "search_result", "enabled", "content",
)  # fmt: skip
FIELDS = (
    "type", "role", "content", "text", "name", "call_id", "output", "arguments", "tool_use_id",
    "input", "id", "thinking", "source", "data", "summary", "format", "schema", "effort",
    "input_schema", "tools", "mode", "title", "parameters", "tool_choice",
)  # fmt: skip
plain = (
    st.sampled_from([*TYPES, "user", "assistant", "system", "developer"])
    | texts | st.none() | st.booleans() | st.integers(-3, 3)
)  # fmt: skip
names = st.sampled_from(FIELDS)
flat = st.dictionaries(names, plain, max_size=4)
nested = st.dictionaries(names, plain | flat | st.lists(flat, max_size=2), max_size=5)
values = plain | nested | st.lists(nested, max_size=2)
TURNS = [{"role": "user", "content": "x"}]
KINDS: dict[type[SurfaceRequest], dict[str, Any]] = {
    ResponsesRequest: {"model": "m", "input": "x"},
    MessagesRequest: {"model": "m", "max_tokens": 5, "messages": TURNS},
    CountTokensRequest: {"model": "m", "messages": TURNS},
}


@pytest.mark.parametrize("kind", KINDS)
@SLOW_AT_FIRST
@given(data=st.data())
def test_a_request_is_understood_or_refused(
    kind: type[SurfaceRequest], data: st.DataObject
) -> None:
    fields = st.sampled_from(sorted(kind.table))
    given_fields = data.draw(st.dictionaries(fields, values, max_size=3))
    try:
        asked = asked_by(parse(kind, orjson.dumps({**KINDS[kind], **given_fields})))
    except ApiError as error:
        assert error.status == 400
        assert error.param is None or error.param.partition(".")[0] in kind.table
        return
    assert isinstance(asked.request, Translated)
    assert asked.request.prompt_for_engine
    orjson.dumps([asked.request.prompt_for_engine, asked.request.to_count.for_engine])
    if asked.writer is not None:
        assert asked.writer.keep_alive(b": x\n")


pieces = st.fixed_dictionaries(
    {"index": st.integers(0, 2)},
    optional={
        "id": st.none() | texts,
        "function": st.fixed_dictionaries({}, optional={"name": texts, "arguments": texts}),
    },
)
choices = st.fixed_dictionaries(
    {
        "index": st.just(0),
        "delta": st.fixed_dictionaries({}, optional={
            "content": st.none() | texts, "reasoning": texts,
            "tool_calls": st.lists(pieces, max_size=2)}),
        "finish_reason": st.sampled_from([None, None, "stop", "length", "tool_calls", "odd"]),
    },
    optional={"stop_reason": st.none() | st.integers(0, 9) | texts},
)  # fmt: skip
usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
chunks = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=1)},
    optional={"usage": st.sampled_from([None, usage]), "ratchet": st.just({"rollouts": 3})},
)


@pytest.mark.parametrize("kind", [ResponsesRequest, MessagesRequest])
@SLOW_AT_FIRST
@given(told=st.lists(chunks, max_size=6), quiet=st.booleans())
def test_a_stream_is_told_in_whole_events(
    kind: type[SurfaceRequest], told: list[dict[str, Any]], quiet: bool
) -> None:
    writer = asked_by(parse(kind, orjson.dumps(KINDS[kind]))).writer
    assert writer is not None
    written = writer.keep_alive(b"") if quiet else b""
    written += b"".join(writer.chunk(chunk) for chunk in told) + writer.end()
    *events, rest = written.decode().split("\n\n")
    assert rest == ""
    for event in events:
        head, _, data = event.partition("\n")
        assert orjson.loads(data.removeprefix("data: "))["type"] == head.removeprefix("event: ")
    ends = {"response.completed", "response.incomplete", "message_stop"}
    assert sum(event.split()[1] in ends for event in events) == 1
    assert events[-1].split()[1] in ends
