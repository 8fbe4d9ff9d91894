"""What requests ask of the engine, and when they are voted on."""

import json
from typing import Any

import pytest

from server.api.parsing import parse
from server.api.requests import FORWARDED, FORWARDED_SINGLE, ChatRequest, TextRequest


def chat(**fields: Any) -> ChatRequest:
    body = {"model": "ratchet", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse(ChatRequest, json.dumps(body).encode())


def text(prompt: Any = "2+2=", **fields: Any) -> TextRequest:
    body = {"model": "ratchet", "prompt": prompt, **fields}
    return parse(TextRequest, json.dumps(body).encode())


PASSED: dict[str, Any] = {
    "max_tokens": 5, "stop": ["a"], "presence_penalty": 0.5, "top_p": 0.5, "top_k": 3,
    "stop_token_ids": [1, 2], "bad_words": ["x"], "allowed_token_ids": [1],
    "thinking_token_budget": 0, "truncate_prompt_tokens": 5, "cache_salt": "s",
    "vllm_xargs": {"a": 1}, "min_tokens": 1, "response_format": {"type": "json_object"},
}  # fmt: skip
CHATS: dict[str, Any] = {
    "reasoning_effort": "low", "include_reasoning": False, "continue_final_message": True,
    "add_generation_prompt": False, "chat_template_kwargs": {"enable_thinking": False},
    "documents": [{"title": "t", "text": "x"}],
}  # fmt: skip
ALONE: dict[str, Any] = {
    "echo": True,
    "prompt_logprobs": 0,
    "return_token_ids": True,
    "use_beam_search": True,
}


def test_what_the_engine_knows_is_passed_on() -> None:
    assert chat(**PASSED, **CHATS).forwarded(FORWARDED) == {**PASSED, **CHATS}
    assert text(**PASSED).forwarded(FORWARDED) == PASSED


def test_a_vote_has_its_own_sampling() -> None:
    fields = {"temperature": 0.0, "seed": 1, "n": 2, "min_p": 0.1}
    assert chat(**fields).forwarded(FORWARDED) == {}
    assert chat(**fields).forwarded(FORWARDED_SINGLE) == fields


@pytest.mark.parametrize("field", ALONE)
def test_what_no_vote_has_makes_a_single_rollout(field: str) -> None:
    for asked in (chat(**{field: ALONE[field]}), text(**{field: ALONE[field]})):
        assert asked.single
        assert asked.forwarded(FORWARDED_SINGLE) == {field: ALONE[field]}
    assert not chat(echo=False, prompt_logprobs=None).single
    assert text(max_tokens=0).single
    assert text(suffix="").single


@pytest.mark.parametrize(
    ("fields", "alters"),
    [
        ({}, False),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}, False),
        ({"ignore_eos": False, "min_tokens": 0, "repetition_penalty": 1}, False),
        ({"thinking_token_budget": -1, "bad_words": [], "vllm_xargs": {}}, False),
        ({"stop_token_ids": [5], "cache_salt": "x"}, False),
        ({"thinking_token_budget": 0}, True),
        ({"bad_words": ["x"]}, True),
        ({"allowed_token_ids": [1]}, True),
        ({"repetition_penalty": 1.1}, True),
        ({"logit_bias": {"5": 3}}, True),
        ({"vllm_xargs": {"x": 1}}, True),
        ({"watermarking": True}, True),
        ({"repetition_detection": {"max_pattern_size": 3}}, True),
    ],
)
def test_what_alters_the_distribution_of_rollouts(fields: dict[str, Any], alters: bool) -> None:
    assert chat(**fields).alters_sampling is alters
    assert text(**fields).alters_sampling is alters


def test_a_text_may_be_kept_to_a_grammar() -> None:
    asked = text(response_format={"type": "json_object"})
    assert asked.bends_sampling
    assert asked.form_answer is not None
    assert asked.form_answer.kind == "json"


def test_options_of_a_stream_say_nothing_where_there_is_none() -> None:
    asked = {"stream_options": {"include_usage": True}}
    assert chat(**asked).forwarded(FORWARDED_SINGLE) == {}
    assert chat(**asked, stream=True).forwarded(FORWARDED_SINGLE).keys() == asked.keys()


def test_openai_s_least_top_p_is_the_engine_s() -> None:
    assert 0 < chat(top_p=0).forwarded(FORWARDED)["top_p"] < 1e-5


@pytest.mark.parametrize(
    ("prompt", "for_engine", "parts"),
    [
        ("a", "a", ["a"]),
        (["a"], "a", ["a"]),
        ([5, 6], [5, 6], [[5, 6]]),
        ([[5, 6]], [5, 6], [[5, 6]]),
        (["a", "b"], ["a", "b"], ["a", "b"]),
        ([[5], [6]], [[5], [6]], [[5], [6]]),
        ("", "", [""]),
    ],
)
def test_prompts_of_every_form(prompt: Any, for_engine: Any, parts: list[Any]) -> None:
    asked = text(prompt)
    assert asked.prompt_for_engine == for_engine
    assert [part.prompt_for_engine for part in asked.parts] == parts
