"""No list of a request is read past its first wrong item: each fault costs a message."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import server.http.app  # noqa: F401 - with it all requests that there are
from server.api.errors import ApiError
from server.api.messages.request import MessagesRequest
from server.api.parsing import parse
from server.api.requests import ChatRequest
from server.api.responses.request import ResponsesRequest


def below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


def slow_lists(schema: Any, at: str, seen: set[int]) -> Iterator[str]:
    """Where a core schema has lists that go on after a fault."""
    if id(schema) in seen:
        return
    seen.add(id(schema))
    if isinstance(schema, dict):
        if schema.get("type") == "list" and not schema.get("fail_fast"):
            yield at
        for key, value in schema.items():
            if key not in ("metadata", "serialization"):
                yield from slow_lists(value, f"{at}.{key}", seen)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from slow_lists(value, at, seen)


REQUESTS = sorted(
    {
        one
        for one in below(BaseModel)
        if one.__module__.startswith("server.api") and one.__module__ != "server.api.reply_schema"
    },
    key=lambda one: f"{one.__module__}.{one.__name__}",
)


def test_there_are_requests() -> None:
    assert {ChatRequest, MessagesRequest, ResponsesRequest} <= set(REQUESTS)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_each_list_ends_at_its_first_fault(kind: type[BaseModel]) -> None:
    assert list(slow_lists(kind.__pydantic_core_schema__, kind.__name__, set())) == []


ZEROS = [0] * 4_090
USER = [{"role": "user", "content": ZEROS}] * 240
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": ZEROS}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ChatRequest, {"messages": USER}),
        (MessagesRequest, {"max_tokens": 5, "messages": USER}),
        (MessagesRequest, {"max_tokens": 5, "messages": [{"role": "user", "content": [RESULT]}]}),
        (ResponsesRequest, {"input": USER}),
        (ResponsesRequest, {"input": [{"type": "reasoning", "content": ZEROS}] * 240}),
    ],
)
def test_a_body_full_of_faults_is_refused_at_once(kind: Any, body: dict[str, Any]) -> None:
    given = json.dumps({"model": "ratchet", **body}).encode()
    started = time.process_time()
    with pytest.raises(ApiError):
        parse(kind, given)
    assert time.process_time() - started < 0.5  # 3 s before
