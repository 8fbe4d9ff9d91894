"""vLLM's extras are the same on every surface: the chat that a request stands for takes what the
document says that the request may have."""

import pytest

from server.api.messages.request import MessagesRequest
from server.api.parsing import parse
from server.api.request_parts.engine_extras import CommonExtras, SamplingExtras
from server.api.requests import ChatRequest
from server.api.responses.request import ResponsesRequest
from server.api.surfaces.asked import SurfaceRequest, asked_by


@pytest.mark.parametrize("kind", [ResponsesRequest, MessagesRequest])
def test_they_are_documented_as_a_chat_s(kind: type[SurfaceRequest]) -> None:
    ours, chat = (one.model_json_schema()["properties"] for one in (kind, ChatRequest))
    shared = SamplingExtras.model_fields.keys() & kind.model_fields.keys()
    assert shared >= CommonExtras.model_fields.keys() >= {"vllm_xargs", "cache_salt"}
    assert {name: ours[name] for name in shared} == {name: chat[name] for name in shared}


def test_an_item_s_further_keys_are_left_alone() -> None:
    body = b"""{"model": "ratchet", "vllm_xargs": {"a": [1, "b"]}, "input": [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm", "q": {}}],
         "summary": null, "": {}, "role": 5, "id": 7, "output": [{}], "name": []}]}"""
    [message] = asked_by(parse(ResponsesRequest, body)).request.prompt_for_engine
    assert message["reasoning"] == "hm"
