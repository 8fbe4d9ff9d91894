"""Responses and Messages by their clients, against a live stack; and beside vLLM's own."""

import json
from itertools import groupby
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import Message
from openai.types.responses import Response

from tests.live import LiveStack

pytestmark = [pytest.mark.integration, pytest.mark.lane("live", 1)]

QUESTION = "What is 12+34?"
TURN: Any = [{"role": "user", "content": QUESTION}]
SINGLE: dict[str, Any] = {"ratchet": {"rollouts": 1}}
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
BODIES: dict[str, dict[str, Any]] = {
    RESPONSES: {"input": QUESTION, "max_output_tokens": 24, "temperature": 0.0},
    MESSAGES: {"messages": TURN, "max_tokens": 24, "temperature": 0.0},
}
# Where a reply is otherwise than vLLM's, on purpose, by the dots of its path: names, then what a
# Response must have by OpenAI's reference and vLLM leaves null, then its defaults.
NAMED = {"id", "model", "output.0.id"}
REFERENCE = {"metadata", "text", "reasoning", "top_logprobs", "output.0.content.0.logprobs",
             "service_tier", "tool_choice"}  # fmt: skip
# Of vLLM alone, in no client's types.
THEIRS = {"input_messages", "output_messages", "kv_transfer_params", "ec_transfer_params",
          "presence_penalty", "frequency_penalty", "prompt", "output.0.phase",
          "usage.input_tokens_details.input_tokens_per_turn",
          "usage.input_tokens_details.cached_tokens_per_turn",
          "usage.output_tokens_details.tool_output_tokens",
          "usage.output_tokens_details.output_tokens_per_turn",
          "usage.output_tokens_details.tool_output_tokens_per_turn"}  # fmt: skip


def both(live: LiveStack, path: str, **more: Any) -> tuple[httpx.Response, httpx.Response]:
    """The reply of a single rollout on base, by us and by vLLM itself."""
    body = {**BODIES[path], **more}
    ours = httpx.post(
        f"{live.root}{path}", json={**body, **SINGLE, "model": "ratchet@base"}, timeout=60
    )
    theirs = httpx.post(
        f"http://127.0.0.1:{live.engine_port}{path}", json={**body, "model": "base"}, timeout=60
    )
    assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
    return ours, theirs


def kinds(text: str) -> list[str]:
    """The types of a stream's events, those that repeat once."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [kind for kind, _ in groupby(json.loads(line)["type"] for line in lines)]


def differing(ours: Any, theirs: Any, path: str = "") -> set[str]:
    """Paths of what vLLM's reply has and ours has not, or has otherwise."""
    if type(ours) is type(theirs) is dict and theirs:
        fields = theirs.items()
    elif type(ours) is type(theirs) is list and len(ours) == len(theirs) and theirs:
        fields = enumerate(theirs)
        ours = dict(enumerate(ours))
    else:
        return set() if ours == theirs else {path}
    return {
        found
        for name, value in fields
        for found in (
            differing(ours[name], value, f"{path}.{name}".removeprefix("."))
            if name in ours
            else {f"{path}.{name}".removeprefix(".")}
        )
    }


def test_a_single_response_is_vllm_s_own_but_for_what_is_named(live: LiveStack) -> None:
    ours, theirs = (reply.json() for reply in both(live, RESPONSES))
    assert differing(ours, theirs) - {"created_at"} == NAMED | REFERENCE | THEIRS
    assert ours["output"][0]["content"][0]["text"]


def test_what_a_response_repeats_and_its_log_probabilities_are_vllm_s(live: LiveStack) -> None:
    asked: dict[str, Any] = {
        "instructions": "Be brief.", "metadata": {"a": "b"}, "top_logprobs": 2,
        "include": ["message.output_text.logprobs"],
    }  # fmt: skip
    ours, theirs = (reply.json() for reply in both(live, RESPONSES, **asked))
    left = {"text", "reasoning", "service_tier", "tool_choice"}
    assert differing(ours, theirs) - {"created_at"} == NAMED | left | THEIRS
    assert len(ours["output"][0]["content"][0]["logprobs"][0]["top_logprobs"]) == 2


@pytest.mark.parametrize("extra", [{}, {"system": "Be brief.", "stop_sequences": ["4"]}])
def test_a_single_message_is_vllm_s_own_but_for_its_names(
    live: LiveStack, extra: dict[str, Any]
) -> None:
    ours, theirs = (reply.json() for reply in both(live, MESSAGES, **extra))
    assert differing(ours, theirs) == {"id", "model"}
    assert ours["usage"]["output_tokens"] > 1


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_streamed_single_reply_has_the_events_of_vllm_s_own(live: LiveStack, path: str) -> None:
    ours, theirs = both(live, path, stream=True)
    assert kinds(ours.text) == kinds(theirs.text)


def test_tokens_are_counted_as_vllm_counts(live: LiveStack) -> None:
    body = {"messages": TURN, "system": "Be brief."}
    path = f"{MESSAGES}/count_tokens"
    ours = httpx.post(f"{live.root}{path}", json={**body, "model": "ratchet"}, timeout=60).json()
    engine = f"http://127.0.0.1:{live.engine_port}{path}"
    theirs = httpx.post(engine, json={**body, "model": "base"}, timeout=60).json()
    assert ours["input_tokens"] == theirs["input_tokens"] > 5


@pytest.mark.parametrize("extra", [{}, {"ratchet": {"stream": "first"}}, SINGLE])
def test_the_openai_client_has_responses(live: LiveStack, extra: dict[str, Any]) -> None:
    with live.client() as client:
        asked: dict[str, Any] = {
            "model": "ratchet", "input": QUESTION, "max_output_tokens": 48, "extra_body": extra,
        }  # fmt: skip
        whole = client.responses.create(**asked)
        Response.model_validate_json(whole.model_dump_json(exclude={"ratchet"}), strict=True)
        assert whole.output_text
        with client.responses.stream(**asked) as stream:
            text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert text


@pytest.mark.parametrize("extra", [{}, {"ratchet": {"stream": "first"}}, SINGLE])
def test_the_anthropic_client_has_messages(live: LiveStack, extra: dict[str, Any]) -> None:
    with Anthropic(base_url=live.root, api_key="none", max_retries=0) as client:
        asked: dict[str, Any] = {
            "model": "ratchet", "messages": TURN, "max_tokens": 48, "extra_body": extra,
        }  # fmt: skip
        whole = client.messages.create(**asked)
        Message.model_validate_json(whole.model_dump_json(exclude={"ratchet"}), strict=True)
        assert whole.content[0].text
        with client.messages.stream(**asked) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert (final.content[0].text, final.stop_reason in ("end_turn", "max_tokens")) == (
            text, True,
        )  # fmt: skip
